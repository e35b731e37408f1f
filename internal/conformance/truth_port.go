package conformance

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// portLines: the accept queue, and an address's only owner.
var portLines = []line{
	{"who stops listening resets what is queued", func(t *testing.T, l lab) {
		for _, stop := range []func(network.Port) error{
			func(p network.Port) error { return p.Become(network.State{Answer: network.Refuse}) },
			network.Port.Close,
		} {
			p := l.listen(t)
			c, d := l.client(t, p), l.client(t, p)
			require.NoError(t, stop(p))
			l.awaitDead(t, c)
			l.awaitDead(t, d)

			reads(t, c, "", failed(c, "read", "read", syscall.ECONNRESET))
			reads(t, c, "", io.EOF)
			writes(t, c, failed(c, "write", "write", syscall.EPIPE))
			writes(t, d, failed(d, "write", "write", syscall.ECONNRESET))
		}
	}},
	{"who stops listening leaves accepted connections alone", func(t *testing.T, l lab) {
		p := l.listen(t)
		c := l.client(t, p)
		s := accept(t, p)
		closes(t, p)
		writes(t, c, nil)
		reads(t, s, "hello", nil)
		writes(t, s, nil)
		reads(t, c, "hello", nil)
	}},
	{"Accept returns a connection that was reset while it was queued", func(t *testing.T, l lab) {
		p := l.listen(t)
		c := l.client(t, p)
		writes(t, c, nil)
		require.NoError(t, c.Reset())
		s := accept(t, p)
		l.awaitDead(t, s)
		reads(t, s, "hello", nil)
		reads(t, s, "", failed(s, "read", "read", syscall.ECONNRESET))
	}},
	{"Accept keeps the order of the connects", func(t *testing.T, l lab) {
		p := l.listen(t)
		for range 3 {
			c := l.client(t, p)
			d := l.client(t, p)
			require.Equal(t, c.LocalAddr(), accept(t, p).RemoteAddr())
			require.Equal(t, d.LocalAddr(), accept(t, p).RemoteAddr())
		}
	}},
	{"Close ends an Accept that waits", func(t *testing.T, l lab) {
		p := l.listen(t)
		got := begin(func() (int, error) { _, err := p.Accept(); return 0, err })
		l.rest()
		closes(t, p)
		got.is(t, 0, &net.OpError{Op: "accept", Net: "tcp", Addr: p.Addr(), Err: net.ErrClosed})
	}},
	{"a backlog admits as many as it says; the next SYN is dropped and tried again when there is room", func(t *testing.T, l lab) {
		l.seconds(t)
		manytests.NeedsQueue(t)
		for _, n := range []int{1, 2, 3, 6, 17} {
			l.overflow(t, n)
		}
	}},
	{"an address in use cannot be bound", func(t *testing.T, l lab) {
		p := l.listen(t)
		_, err := l.stack.Bind(t.Context(), "tcp", p.Addr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = l.stack.Listen(t.Context(), "tcp", p.Addr().String())
		require.Equal(t, &net.OpError{Op: "listen", Net: "tcp", Addr: parsed(p.Addr()), Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, err)
	}},
	{"an address of another machine cannot be bound", func(t *testing.T, l lab) {
		_, err := l.stack.Listen(t.Context(), "tcp", "203.0.113.1:80")
		require.EqualError(t, err, "listen tcp 203.0.113.1:80: bind: cannot assign requested address")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	}},
}

// overflow fills a queue of n. Nobody has accepted, so there is room only when the first is.
func (l lab) overflow(t *testing.T, n int) {
	t.Helper()
	p := l.port(t, network.State{Answer: network.Listen, Backlog: n})
	for range n {
		l.client(t, p)
	}
	dropped, _, err := p.Dropped()
	supported(t, err)
	require.Zero(t, dropped, "of %d", n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	zero := time.Now()
	var c net.Conn
	got := begin(func() (_ int, err error) { c, err = l.dial(ctx, p); return 0, err })
	l.eventually(t, fmt.Sprintf("a SYN beyond %d is dropped", n), func() bool { n, _, err := p.Dropped(); return err == nil && n > 0 })
	if n > 1 && !l.Virtual { // the rest would take a second each
		cancel()
		require.ErrorIs(t, (<-got.back).err, context.Canceled)
		return
	}
	accept(t, p)
	got.is(t, 0, nil)
	defer c.Close()
	if l.Virtual {
		require.Equal(t, time.Second, time.Since(zero))
	}
}
