package overall_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/rpc"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func listenerKnobs() []knob {
	return []knob{
		{name: "TCPListener.SetDeadline", trip: "`hostile.ConnectOnly`, and nobody after it",
			with: sockettest.TimedOut.At(knobLimit).In("accept"), without: waits, run: acceptAnother},
		{name: "ListenConfig.KeepAliveConfig", trip: "`hostile.ConnectOnly`, its connection partitioned", kernel: true, run: vanished,
			with: sockettest.TimedOut.After(time.Second).Before(3 * time.Second).In("read"), without: sockettest.Blocked.For(2200 * time.Millisecond),
			note: "with KeepAlive: -1; the default gives up after 150 s"},
	}
}

func tlsServerKnobs() []knob {
	const none = "tls.Config has no limit for a handshake"
	return []knob{
		{name: "Conn.SetDeadline before a server's handshake", trip: hostile.SlowHello{}, note: none,
			with: sockettest.TimedOut.At(knobLimit).In("read"), without: waits, run: handshake(slowHello, withDeadline)},
		{name: "ctx of Conn.HandshakeContext of a server", trip: hostile.StalledTLS{}, note: none,
			with: sockettest.TimedOut.At(knobLimit), without: waits, run: handshake(stalledTLS, withContext)},
	}
}

func rpcServerKnobs() []knob {
	return []knob{
		{name: "Conn.SetDeadline before Server.ServeConn", trip: hostile.ConnectOnly{}, with: sockettest.Disconnected.At(knobLimit), without: waits,
			note: "package rpc has no limit of its own, and a deadline is for all calls of a connection together", run: serveRPC},
	}
}

// accepted starts a client and returns the server's end of its connection.
func accepted(t *testing.T, nw network.Stack, ln net.Listener, client func(string) hostile.Fixture) (*hostile.Attack, net.Conn) {
	t.Helper()
	t.Cleanup(func() { _ = ln.Close() })
	a := sockettest.Start(t, client(ln.Addr().String()), sockettest.On(nw))
	c, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return a, c
}

// listens is a listener of that world.
func listens(t *testing.T, nw network.Stack) net.Listener {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return ln
}

func connectOnly(s string) hostile.Fixture { return hostile.ConnectOnly{Target: s} }

func acceptAnother(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	ln := listens(t, nw)
	a, _ := accepted(t, nw, ln, connectOnly)
	return sockettest.Expect(t, a, want, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
		if limit > 0 {
			assert.NoError(t, ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(limit)))
		}
		c, err := ln.Accept()
		return closed(c, err)
	})
}

// vanished reads from a client that has no cable any more.
func vanished(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	manytests.KernelTimer(t)
	manytests.NeedsMinTTL(t)
	lc := net.ListenConfig{KeepAlive: -1}
	if limit > 0 {
		lc.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1} // a kernel counts in seconds
	}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	a := sockettest.Start(t, connectOnly(ln.Addr().String()), sockettest.On(nw))
	return sockettest.Expect(t, a, want, func(ctx context.Context) error { // the accept is part of it: from then on the kernel counts
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = c.Close() })
		t.Cleanup(a.Conns()[0].Partition())
		return readUntilDone(c)(ctx)
	})
}

// handshake is a server of package tls against a client that does not end it.
func handshake(client func(string) hostile.Fixture, limited func(ctx context.Context, c net.Conn, limit time.Duration) error) trial {
	return func(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
		a, c := accepted(t, nw, listens(t, nw), client)
		return sockettest.Expect(t, a, want, func(ctx context.Context) error { return limited(ctx, c, limit) })
	}
}

func withDeadline(ctx context.Context, c net.Conn, limit time.Duration) error {
	if limit > 0 {
		_ = c.SetDeadline(time.Now().Add(limit))
	}
	return tls.Server(c, tlsfault.ServerConfig()).HandshakeContext(ctx) // whose context ends with the test
}

func withContext(ctx context.Context, c net.Conn, limit time.Duration) error {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	return tls.Server(c, tlsfault.ServerConfig()).HandshakeContext(ctx)
}

func serveRPC(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	a, c := accepted(t, nw, listens(t, nw), connectOnly)
	if limit > 0 {
		require.NoError(t, c.SetDeadline(time.Now().Add(limit)))
	}
	var wg sync.WaitGroup
	wg.Go(func() { rpc.NewServer().ServeConn(c) })
	t.Cleanup(func() {
		_ = c.Close()
		wg.Wait()
	})
	return sockettest.ExpectEnd(t, a, want)
}
