package overall_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func netKnobs() []knob {
	hole := sockettest.TimedOut.At(knobLimit).In("connect")
	kernelGivesUp := sockettest.TimedOut.At(131 * time.Second).In("connect")
	const sysctl = "Linux gives up, and so late since 6.5 (tcp_syn_linear_timeouts)"
	return []knob{
		{name: "Dialer.Timeout", trip: fixtures.BlackHole{}, with: hole, without: kernelGivesUp, note: sysctl,
			run: dialKnob(func(d *net.Dialer, limit time.Duration) { d.Timeout = limit })},
		{name: "Dialer.Deadline", trip: fixtures.BlackHole{}, with: hole, without: kernelGivesUp, note: sysctl,
			run: dialKnob(func(d *net.Dialer, limit time.Duration) {
				if limit > 0 {
					d.Deadline = time.Now().Add(limit)
				}
			})},
		{name: "ctx of Dialer.DialContext", trip: fixtures.BlackHole{}, with: hole, without: kernelGivesUp, note: sysctl,
			run: against(fixtures.BlackHole{}, dialByContext)},
		{name: "Dialer.FallbackDelay", trip: fixtures.Dual{IPv6: fixtures.BlackHole{}}, kernel: true, run: fallback,
			with: sockettest.Accepted.After(time.Second), without: sockettest.Accepted.After(300 * time.Millisecond),
			note: "IPv4 is tried after 300ms; negative never tries it beside IPv6"},
		{name: "Dialer.KeepAliveConfig", trip: partitioned, kernel: true, run: keepAlive(kernelKeepAlive),
			with: sockettest.TimedOut.After(2 * time.Second).In("read"), without: sockettest.Blocked.For(2200 * time.Millisecond),
			note: "with KeepAlive: -1; the default gives up after 150 s"},
		{name: "TCPConn.SetKeepAliveConfig", trip: partitioned, run: keepAlive(setKeepAlive),
			with: sockettest.TimedOut.At(knobLimit).In("read"), without: waits,
			note: "with SetKeepAlive(false); the default gives up after 150 s"},
		{name: "Conn.SetDeadline", trip: fixtures.Silent{}, with: sockettest.TimedOut.At(knobLimit).In("read"), without: waits,
			run: against(fixtures.Silent{}, deadline(net.Conn.SetDeadline, readOne))},
		{name: "Conn.SetReadDeadline", trip: fixtures.Silent{}, with: sockettest.TimedOut.At(knobLimit).In("read"), without: waits,
			run: against(fixtures.Silent{}, deadline(net.Conn.SetReadDeadline, readOne))},
		{name: "Conn.SetWriteDeadline", trip: fixtures.NeverRead{}, with: sockettest.TimedOut.At(knobLimit).In("write"), without: waits,
			run: against(fixtures.NeverRead{}, deadline(net.Conn.SetWriteDeadline, writeMuch))},
		{name: "UDPConn.SetReadDeadline", trip: udp.Silent{}, with: sockettest.TimedOut.At(knobLimit).In("read"), without: waits, run: datagram},
		{name: "ctx of Resolver.LookupIP", trip: dnsfault.Silent{}, with: sockettest.TimedOut.At(time.Second).In("resolve"), run: resolve,
			without: sockettest.TimedOut.After(2 * time.Second).Before(10 * time.Minute).In("resolve"),
			note:    "resolv.conf's timeout and attempts, for each of its servers"},
	}
}

// dialKnob dials a black hole with a net.Dialer.
func dialKnob(set func(d *net.Dialer, limit time.Duration)) trial {
	return against(fixtures.BlackHole{}, func(t *testing.T, _ network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
		manytests.NeedsPlainTCP(t)
		d := sockettest.Dialer(t, fixtures.BlackHole{}) // a net.Dialer goes nowhere but to the kernel
		d.KeepAlive = -1
		set(d, limit)
		return func(ctx context.Context) error { return closed(d.DialContext(ctx, "tcp", ep.Addr())) }
	})
}

func dialByContext(_ *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := within(ctx, limit)
		defer cancel()
		return closed(nw.DialContext(ctx, "tcp", ep.Addr()))
	}
}

// within is ctx with a limit; 0 is none.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// closed closes c, for calls that were about the error.
func closed(c io.Closer, err error) error {
	if err != nil {
		return err
	}
	return c.Close()
}

// fallback dials a name whose IPv6 address does not answer. The delay is longer than the default,
// so that no slack covers both.
func fallback(t *testing.T, _ network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	ep := sockettest.Start(t, fixtures.Dual{IPv6: fixtures.BlackHole{}})
	d := ep.Dialer()
	if limit > 0 {
		d.FallbackDelay = time.Second
	}
	return sockettest.Expect(t, ep, want, func(ctx context.Context) error {
		return closed(d.DialContext(ctx, "tcp", ep.HostPort()))
	})
}

// partitioned is a server whose cable has been pulled.
const partitioned = "`Silent`, its connection partitioned"

// keepAlive reads from such a server.
func keepAlive(dial func(ctx context.Context, nw network.Stack, addr string, limit time.Duration) (net.Conn, error)) trial {
	return against(fixtures.Silent{}, func(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
		if nw == sockettest.Kernel {
			manytests.KernelTimer(t)
			manytests.NeedsMinTTL(t)
			manytests.NeedsProc(t) // else a client that a partition hides cannot be said to have closed
		}
		return func(ctx context.Context) error { // the dial is part of it: from then on the kernel counts
			c, err := dial(ctx, nw, ep.Addr(), limit)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = c.Close() })
			if err := ep.Await(ctx, fixtures.ConnAccepted, 1); err != nil {
				return err
			}
			t.Cleanup(ep.Conns()[0].Partition())
			return readUntilDone(c)(ctx)
		}
	})
}

// kernelKeepAlive is what a kernel gives up soonest with: it counts in whole seconds.
func kernelKeepAlive(ctx context.Context, _ network.Stack, addr string, limit time.Duration) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if limit > 0 {
		d.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1}
	}
	return d.DialContext(ctx, "tcp", addr)
}

func setKeepAlive(ctx context.Context, nw network.Stack, addr string, limit time.Duration) (net.Conn, error) {
	nc, err := nw.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := nc.(interface {
		SetKeepAlive(bool) error
		SetKeepAliveConfig(net.KeepAliveConfig) error
	})
	if limit == 0 {
		return nc, c.SetKeepAlive(false)
	}
	return nc, c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: limit - 10*time.Second, Interval: 5 * time.Second, Count: 2})
}

// deadline makes a call on a connection that has a deadline.
func deadline(set func(net.Conn, time.Time) error, call func(net.Conn) error) caller {
	return func(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
		c := dialled(t, nw, ep)
		return func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			if limit > 0 {
				assert.NoError(t, set(c, time.Now().Add(limit)))
			}
			return call(c)
		}
	}
}

// dialled connects, until the end of the test.
func dialled(t *testing.T, nw network.Stack, ep *fixtures.Endpoint) net.Conn {
	t.Helper()
	c, err := nw.DialContext(t.Context(), "tcp", ep.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func readOne(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }

func writeMuch(c net.Conn) error { _, err := c.Write(make([]byte, 16<<20)); return err }

// readUntilDone reads until its context ends.
func readUntilDone(c net.Conn) func(context.Context) error {
	return func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		return readOne(c)
	}
}

// resolve asks name servers that do not answer. The limit is a second, less than one attempt takes.
func resolve(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	ep := sockettest.Start(t, dnsfault.Silent{}, sockettest.On(nw))
	return sockettest.Expect(t, ep, want, func(ctx context.Context) error {
		ctx, cancel := within(ctx, min(limit, time.Second))
		defer cancel()
		_, err := ep.Resolver().LookupIP(ctx, "ip4", "db.example.")
		return err
	})
}

// datagram asks a server of datagrams that does not answer.
func datagram(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	ep := sockettest.Start(t, udp.Silent{}, sockettest.On(nw))
	c, err := nw.DialContext(t.Context(), "udp", ep.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	if limit > 0 {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(limit)))
	}
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	return sockettest.Expect(t, ep, want, readUntilDone(c))
}
