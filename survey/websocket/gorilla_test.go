package websocket_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestGorillaClient(t *testing.T) {
	t.Parallel()
	const shaking = "Dialer.HandshakeTimeout (default none; of DefaultDialer 45s)"
	exam.Run(t, exam.Client{Name: "gorilla/websocket", Module: "github.com/gorilla/websocket", Peer: obliging}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: shaking, Op: gorillaDial,
			Want: exam.AtOnce(sockettest.Rejected).In("connect")},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: shaking, Op: gorillaDial,
			Want: exam.AtLimit(sockettest.TimedOut).In("connect")},
		{Name: exam.BlackHoled + ", with NetDial", Fixture: fixtures.BlackHole{}, Knob: "none: Dialer.HandshakeTimeout is not for it", Op: gorillaNetDial,
			Want: exam.Never()},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: shaking, Op: gorillaDial,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Unanswered + ", cancelled", Fixture: fixtures.Silent{}, Knob: "Dialer.HandshakeTimeout, not the context", Op: gorillaCancelled,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "forbidden, and a body that stalls", Fixture: forbidden, Knob: shaking, Op: gorillaDial,
			Want: exam.AtLimit(sockettest.ErrorIs(websocket.ErrBadHandshake)), SimnetOnly: "on a machine that stalls the answer may come too late"},
		{Name: exam.ResetMidway, Fixture: midway, Knob: shaking, Op: gorillaDial, Want: exam.AtOnce(sockettest.ResetByPeer)},
		{Name: exam.WentSilent, Fixture: upgraded, Knob: "Conn.SetReadDeadline (default none)", Op: gorillaRead(1),
			Want: exam.AtLimit(sockettest.TimedOut)}, // its error has Timeout, and hides the rest
		{Name: exam.WentSilent + ", without a deadline", Fixture: upgraded, Knob: "none", Op: gorillaRead(0), Want: exam.Never()},
		{Name: exam.WentSilent + ", writing", Fixture: upgraded, Knob: "Conn.SetWriteDeadline (default none)", Op: gorillaWrite(1),
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.WentSilent + ", writing without a deadline", Fixture: upgraded, Knob: "none", Op: gorillaWrite(0), Want: exam.Never()},
	})
}

func gorillaDial(_ testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		d := websocket.Dialer{NetDialContext: p.DialContext, HandshakeTimeout: p.Limit}
		c, _, err := d.DialContext(ctx, "ws://"+p.Addr(), nil)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// gorillaNetDial has the older of the two dial functions, to which no limit is passed on.
func gorillaNetDial(t testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		d := websocket.Dialer{HandshakeTimeout: p.Limit / 10,
			NetDial: func(network, address string) (net.Conn, error) { return p.DialContext(t.Context(), network, address) }}
		ctx, cancel := context.WithTimeout(ctx, p.Limit/10)
		defer cancel()
		_, _, err := d.DialContext(ctx, "ws://"+p.Addr(), nil)
		return err
	}
}

// gorillaCancelled gives up in the middle of the handshake, which looks at the context's deadline only.
func gorillaCancelled(t testing.TB, p exam.Place) func(context.Context) error {
	return whenReceived(p, gorillaDial(t, p))
}

// whenReceived cancels op when the fixture has its first bytes.
func whenReceived(p exam.Place, op func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer cancel()
			_ = p.Await(ctx, fixtures.Received, 1)
		}()
		return op(ctx)
	}
}

func gorillaConn(t testing.TB, p exam.Place) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDialContext: p.DialContext}
	c, _, err := d.DialContext(t.Context(), "ws://"+p.Addr(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// gorillaRead waits for a message, with a deadline of n limits; 0 means none.
func gorillaRead(limits int) func(testing.TB, exam.Place) func(context.Context) error {
	return gorillaReadFrom(gorillaConn, limits)
}

func gorillaReadFrom(open func(testing.TB, exam.Place) *websocket.Conn, limits int) func(testing.TB, exam.Place) func(context.Context) error {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := open(t, p)
		return func(context.Context) error {
			if limits > 0 {
				_ = c.SetReadDeadline(time.Now().Add(time.Duration(limits) * p.Limit))
			}
			_, _, err := c.ReadMessage()
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded) // it hides what package net says, and keeps Timeout
			return err
		}
	}
}

// gorillaWrite sends more than the buffers hold to a connection that was cut.
func gorillaWrite(limits int) func(testing.TB, exam.Place) func(context.Context) error {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := gorillaConn(t, p)
		p.Conns()[0].Partition()
		message := make([]byte, 8<<20)
		return func(context.Context) error {
			if limits > 0 {
				_ = c.SetWriteDeadline(time.Now().Add(time.Duration(limits) * p.Limit))
			}
			return c.WriteMessage(websocket.BinaryMessage, message)
		}
	}
}

// Upgrader.HandshakeTimeout is for the answer only: the request is read before Upgrade is called.
func TestGorillaServer(t *testing.T) {
	t.Parallel()
	exam.Defend(t, exam.Client{Name: "gorilla/websocket server", Module: "github.com/gorilla/websocket"}, []exam.Attack{
		{Name: "connects, then silent", Knob: "none: Upgrader.HandshakeTimeout is for the answer", Serve: gorillaHandshake,
			Want: exam.Never(), Client: func(target string) hostile.Fixture { return hostile.ConnectOnly{Target: target} }},
		{Name: "half a handshake, then silent", Knob: "none: Upgrader.HandshakeTimeout is for the answer", Serve: gorillaHandshake,
			Want: exam.Never(), Client: exam.Says(hello[:20])},
		{Name: "upgraded, then silent", Knob: "none: those of http.Server are over", Serve: gorillaServe(0), Want: exam.Never(),
			Client: exam.Says(hello), SimnetOnly: brief},
		{Name: "upgraded, then silent, with a deadline", Knob: "Conn.SetReadDeadline (default none)", Serve: gorillaServe(1),
			Want: exam.AtLimit(sockettest.Disconnected), Client: exam.Says(hello)},
	})
}

// gorillaHandshake has no other limit than that of its Upgrader.
func gorillaHandshake(t testing.TB, ln net.Listener, p exam.Place) {
	t.Helper()
	serveHTTP(t, ln, &http.Server{Handler: gorillaHandler(t, websocket.Upgrader{HandshakeTimeout: p.Limit / 10}, 0)})
}

// gorillaServe reads one message from each client, with a deadline of n limits; 0 means none.
func gorillaServe(limits int) func(testing.TB, net.Listener, exam.Place) {
	return func(t testing.TB, ln net.Listener, p exam.Place) {
		t.Helper()
		serveHTTP(t, ln, briefly(p, gorillaHandler(t, websocket.Upgrader{HandshakeTimeout: p.Limit / 10}, time.Duration(limits)*p.Limit)))
	}
}

func gorillaHandler(t testing.TB, u websocket.Upgrader, limit time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		defer c.Close()
		if limit > 0 {
			_ = c.SetReadDeadline(time.Now().Add(limit))
		}
		_, _, err = c.ReadMessage()
		assert.Error(t, err)
	}
}
