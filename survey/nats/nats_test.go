// Package nats holds nats-io/nats.go to its limits.
package nats

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// client names it in the table.
var client = exam.Client{Name: "nats.go", Module: "github.com/nats-io/nats.go", Peer: obliging}

func TestMain(m *testing.M) { sockettest.Main(m) }

// handshake is all that a server without accounts must say. TLS it must offer also where it is spoken already.
var handshake = script.Script{
	script.Send("INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"proto\":1,\"max_payload\":1048576,\"tls_available\":true}\r\n"),
	script.ReadUntil("PING\r\n"), // it follows CONNECT
	script.Send("PONG\r\n"),
}

// after is a server that lets the client in, and then does something else.
func after(steps ...script.Step) fixtures.Fixture {
	return fixtures.Scripted{Steps: append(handshake[:len(handshake):len(handshake)], steps...)}
}

var (
	silent = after(script.Discard())

	// obliging answers each PING, and ends with an error what it does not know, as it does subscriptions.
	obliging = exam.Honest(after(script.Do(pong)))

	// reset ends the connection between CONNECT and PONG.
	reset = fixtures.Scripted{Steps: append(handshake[:2:2], script.Reset())}
)

func pong(_ context.Context, c script.Conn) error {
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if line != "PING\r\n" {
			_, err = io.WriteString(c, "-ERR 'Unknown Protocol Operation'\r\n")
			return err
		}
		if _, err := io.WriteString(c, "PONG\r\n"); err != nil {
			return err
		}
	}
}

// A dialer is what nats.SetCustomDialer takes. It has neither a context nor nats.Timeout: its limit is its own.
type dialer struct {
	ctx context.Context
	p   exam.Place
	max time.Duration // 0 means none
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx := d.ctx
	if d.max > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.max)
		defer cancel()
	}
	return d.p.DialContext(ctx, network, address)
}

// options are for a client that tries once. In virtual time the dialer has the limit that nats.Timeout is for the default one.
func options(t testing.TB, p exam.Place, more ...nats.Option) []nats.Option {
	o := []nats.Option{nats.Timeout(p.Limit), nats.NoReconnect()}
	if p.Virtual {
		o = append(o, nats.SetCustomDialer(dialer{t.Context(), p, p.Limit}))
	}
	return append(o, more...)
}

type op = func(testing.TB, exam.Place) func(context.Context) error

// connect connects, within nats.Timeout.
func connect(more ...nats.Option) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		return func(context.Context) error {
			nc, err := nats.Connect("nats://"+p.Addr(), options(t, p, more...)...)
			if err == nil {
				nc.Close()
			}
			return err
		}
	}
}

// connectWithDialer has a dialer without a limit.
func connectWithDialer(t testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		nc, err := nats.Connect("nats://"+p.Addr(), options(t, p, nats.SetCustomDialer(dialer{ctx, p, 0}))...)
		if err == nil {
			nc.Close()
		}
		return err
	}
}

// open returns a client that is connected.
func open(t testing.TB, p exam.Place, more ...nats.Option) *nats.Conn {
	t.Helper()
	more = append([]nats.Option{nats.Timeout(time.Hour)}, more...) // how long that takes is not the point
	nc, err := nats.Connect("nats://"+p.Addr(), options(t, p, more...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// request asks, with a context.
func request(more ...nats.Option) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		nc := open(t, p, more...)
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			_, err := nc.RequestWithContext(ctx, "subject", nil)
			return err
		}
	}
}

// flushTimeout waits for the server's PONG.
func flushTimeout(t testing.TB, p exam.Place) func(context.Context) error {
	nc := open(t, p)
	return func(context.Context) error { return nc.FlushTimeout(p.Limit) }
}

// next waits for a message, without a limit.
func next(more ...nats.Option) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		nc := open(t, p, more...)
		sub, err := nc.SubscribeSync("subject")
		require.NoError(t, err)
		return func(ctx context.Context) error {
			_, err := sub.NextMsgWithContext(ctx)
			return err
		}
	}
}

// idle connects, does nothing, and waits until the client finds that the server is gone.
func idle(t testing.TB, p exam.Place) func(context.Context) error {
	return func(context.Context) error {
		closed := make(chan struct{})
		nc := open(t, p, nats.PingInterval(p.Limit), nats.MaxPingsOutstanding(2),
			nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		<-closed
		return nc.LastError()
	}
}

func TestNATS(t *testing.T) {
	t.Parallel()
	const (
		limit  = "nats.Timeout (default 2s)"
		ctx    = "the context of RequestWithContext"
		flush  = "FlushTimeout's own"
		pings  = "nats.PingInterval (default 2m), 3 times with nats.MaxPingsOutstanding 2 (default)"
		timers = "it takes its timer from a pool of the whole process, and a timer of one bubble must not be reset in another"
	)
	exam.Run(t, client, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: limit, Want: exam.AtOnce(sockettest.ErrorIs(nats.ErrNoServers)), Op: connect()},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: limit, Want: exam.AtLimit(sockettest.TimedOut).In("connect"), Op: connect()},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: limit, Want: exam.AtLimit(sockettest.TimedOut), Op: connect()},
		{Name: exam.ResetMidway, Fixture: reset, Knob: limit, Want: exam.AtOnce(sockettest.ResetByPeer).In("read"), Op: connect()},
		{Name: exam.WentSilent, Fixture: silent, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: request()},
		{Name: exam.WentSilent + ", flush", Fixture: silent, Knob: flush, Want: exam.AtLimit(sockettest.ErrorIs(nats.ErrTimeout)), Op: flushTimeout, KernelOnly: timers},
		{Name: exam.WentSilent + ", idle", Fixture: silent, Knob: pings, Want: exam.AtLimit(sockettest.ErrorIs(nats.ErrStaleConnection)).Times(3), Op: idle},
		{Name: exam.WentSilent + ", no limit", Fixture: silent, Knob: "none", Want: exam.Never(), Op: next()},
		{Name: exam.BlackHoled + ", custom dialer", Fixture: fixtures.BlackHole{}, Knob: "none: nats.Timeout is not for it", Want: exam.Never().Times(3), Op: connectWithDialer},
	})
}
