package websocket_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestCoderClient(t *testing.T) {
	t.Parallel()
	const dialing = "the context of Dial"
	exam.Run(t, exam.Client{Name: "coder/websocket", Module: "github.com/coder/websocket", Peer: obliging}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: dialing, Op: coderDial,
			Want: exam.AtOnce(sockettest.Rejected).In("connect")},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: dialing, Op: coderDial, Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: dialing, Op: coderDial, Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Unanswered + ", HTTPClient.Timeout", Fixture: fixtures.Silent{}, Knob: "DialOptions.HTTPClient.Timeout (default none)", Op: coderTimeout,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Unanswered + ", no limit", Fixture: fixtures.Silent{}, Knob: "none", Op: coderUnlimited,
			Want: exam.Never()},
		{Name: exam.ResetMidway, Fixture: midway, Knob: dialing, Op: coderDial, Want: exam.AtOnce(sockettest.ResetByPeer)},
		{Name: exam.WentSilent, Fixture: upgraded, Knob: "the context of Read", Op: coderRead, Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.WentSilent + ", no limit", Fixture: upgraded, Knob: "none", Op: coderReadOn, Want: exam.Never()},
		{Name: exam.WentSilent + ", asked by Ping", Fixture: fixtures.StandIn{Then: upgraded, Instead: quiet}, Knob: "the context of Ping", Op: coderPing,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.WentSilent + ", writing", Fixture: upgraded, Knob: "the context of Write", Op: coderWrite,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.WentSilent + ", closing", Fixture: upgraded, Knob: "none: it is always 5 s", Op: coderClose, SimnetOnly: "5 s that no knob shortens",
			Want: exam.AtOnce(sockettest.TimedOut).Plus(5 * time.Second)},
	})
}

// coderOptions leads Dial to the fixture. A dial that its context has ended goes on within net/http, until the transport is
// told that nobody waits for it.
func coderOptions(t testing.TB, p exam.Place) *websocket.DialOptions {
	tr := &http.Transport{DialContext: p.DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}}
}

func coderDial(t testing.TB, p exam.Place) func(context.Context) error {
	return bounded(p, func(ctx context.Context) error {
		c, _, err := websocket.Dial(ctx, "ws://"+p.Addr(), coderOptions(t, p))
		if err != nil {
			return err
		}
		return c.CloseNow()
	})
}

func coderTimeout(t testing.TB, p exam.Place) func(context.Context) error {
	options := coderOptions(t, p)
	options.HTTPClient.Timeout = p.Limit
	return func(ctx context.Context) error {
		_, _, err := websocket.Dial(ctx, "ws://"+p.Addr(), options)
		return err
	}
}

func coderUnlimited(t testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := websocket.Dial(ctx, "ws://"+p.Addr(), coderOptions(t, p))
		return err
	}
}

// bounded gives op a context that ends with the limit.
func bounded(p exam.Place, op func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		return op(ctx)
	}
}

func coderConn(t testing.TB, p exam.Place) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.Addr(), coderOptions(t, p))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func coderRead(t testing.TB, p exam.Place) func(context.Context) error {
	return bounded(p, coderReadOn(t, p))
}

func coderReadOn(t testing.TB, p exam.Place) func(context.Context) error {
	c := coderConn(t, p)
	return func(ctx context.Context) error {
		_, _, err := c.Read(ctx)
		return err
	}
}

// coderPing asks while somebody reads, as Ping wants it.
func coderPing(t testing.TB, p exam.Place) func(context.Context) error {
	c := coderConn(t, p)
	c.CloseRead(t.Context())
	return bounded(p, c.Ping)
}

// coderWrite sends more than the buffers hold to a connection that was cut.
func coderWrite(t testing.TB, p exam.Place) func(context.Context) error {
	c := coderConn(t, p)
	p.Conns()[0].Partition()
	message := make([]byte, 8<<20)
	return bounded(p, func(ctx context.Context) error { return c.Write(ctx, websocket.MessageBinary, message) })
}

func coderClose(t testing.TB, p exam.Place) func(context.Context) error {
	c := coderConn(t, p)
	return func(context.Context) error { return c.Close(websocket.StatusNormalClosure, "") }
}

// A handshake that does not fit is read on for 3 s, whatever the context says, since after a 101 the connection has left
// net/http; after any other answer it has not.
func TestCoderDialOutlivesItsContext(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    sockettest.Want
	}{
		{"wrong Sec-WebSocket-Accept", misfit, sockettest.Other.At(3 * time.Second)},
		{"forbidden", forbidden, sockettest.Other.At(time.Second)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				p := exam.Place{Limit: time.Second, Virtual: true,
					Endpoint: sockettest.Start(t, tt.fixture, sockettest.On(simnet.New(t)))}
				sockettest.Expect(t, p, tt.want, coderDial(t, p))
			})
		})
	}
}

func TestCoderServer(t *testing.T) {
	t.Parallel()
	exam.Defend(t, exam.Client{Name: "coder/websocket server", Module: "github.com/coder/websocket"}, []exam.Attack{
		{Name: "connects, then silent", Knob: "http.Server.ReadHeaderTimeout (default none)", Serve: coderHandshake, Want: exam.AtLimit(sockettest.Disconnected),
			Client: func(target string) hostile.Fixture { return hostile.ConnectOnly{Target: target} }},
		{Name: "upgraded, then silent", Knob: "none: those of http.Server are over", Serve: coderServe(0), Want: exam.Never(),
			Client: exam.Says(hello), SimnetOnly: brief},
		{Name: "upgraded, then silent, with a deadline", Knob: "the context of Read", Serve: coderServe(1),
			Want: exam.AtLimit(sockettest.Disconnected), Client: exam.Says(hello)},
	})
}

func coderHandshake(t testing.TB, ln net.Listener, p exam.Place) {
	t.Helper()
	serveHTTP(t, ln, &http.Server{Handler: coderHandler(t, p.Limit), ReadHeaderTimeout: p.Limit})
}

// coderServe reads one message from each client, within n limits; 0 means none.
func coderServe(limits int) func(testing.TB, net.Listener, exam.Place) {
	return func(t testing.TB, ln net.Listener, p exam.Place) {
		t.Helper()
		serveHTTP(t, ln, briefly(p, coderHandler(t, time.Duration(limits)*p.Limit)))
	}
}

func coderHandler(t testing.TB, limit time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		defer c.CloseNow()
		ctx := r.Context()
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		_, _, err = c.Read(ctx)
		assert.Error(t, err)
	}
}
