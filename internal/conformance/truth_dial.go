package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// dialLines: what a dial meets.
var dialLines = []line{
	{"a port that is bound and does not listen refuses", func(t *testing.T, l lab) {
		p := l.port(t, network.State{})
		_, err := l.dial(t.Context(), p)

		require.Equal(t, undialled(p, os.NewSyscallError("connect", syscall.ECONNREFUSED)), err)
		require.Equal(t, "dial tcp "+p.Addr().String()+": connect: connection refused", err.Error())
		_, err = l.stack.Connect(t.Context(), "tcp", p.Addr().String(), network.ConnectOptions{})
		require.Equal(t, undialled(p, os.NewSyscallError("connect", syscall.ECONNREFUSED)), err)
	}},
	{"a port that is closed refuses, and so does one that has stopped listening", func(t *testing.T, l lab) {
		p := l.listen(t)
		require.NoError(t, p.Become(network.State{Answer: network.Refuse}))
		_, err := l.dial(t.Context(), p)
		require.Equal(t, undialled(p, os.NewSyscallError("connect", syscall.ECONNREFUSED)), err)
		if l.Host == "" && !l.Virtual {
			t.Skip("a port of 127.0.0.1 that was closed may be somebody else's at once")
		}
		closes(t, p)
		_, err = l.dial(t.Context(), p)
		require.Equal(t, undialled(p, os.NewSyscallError("connect", syscall.ECONNREFUSED)), err)
	}},
	{"a context that has ended cancels before anything is sent", func(t *testing.T, l lab) {
		p := l.listen(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.dial(ctx, p)
		l.isCanceled(t, p, err)
	}},
	{"a context that ends cancels a connect that nobody answers", func(t *testing.T, l lab) {
		p := l.port(t, network.State{Answer: network.Drop})
		ctx, cancel := context.WithCancel(t.Context())
		got := begin(func() (int, error) { _, err := l.dial(ctx, p); return 0, err })
		l.eventually(t, "a SYN was dropped", func() bool { n, _, err := p.Dropped(); return err == nil && n > 0 })
		cancel()
		l.isCanceled(t, p, (<-got.back).err)
	}},
	{"a context's deadline is an i/o timeout", func(t *testing.T, l lab) {
		p := l.port(t, network.State{Answer: network.Drop})
		d := l.either(50*time.Millisecond, 30*time.Second)
		zero := time.Now()
		ctx, cancel := context.WithDeadline(t.Context(), zero.Add(d))
		defer cancel()
		_, err := l.dial(ctx, p)

		l.after(t, zero, d)
		op := l.isDialError(t, p, err, "i/o timeout")
		require.True(t, op.Timeout())
		// Which of the two it is is a race in package net.
		require.True(t, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded), "%T", op.Err)
	}},
	{"a connect that nobody answers is ETIMEDOUT after 131 s", func(t *testing.T, l lab) {
		// Since Linux 6.5 the first five retransmissions come after a second each
		// (tcp_syn_linear_timeouts), and tcp_syn_retries counts from there: 1, 2, 3, 4, 5, 7, 11,
		// 19, 35 and 67 s. Seen on Linux 6.18: 11 SYNs.
		l.onlyVirtual(t, "would take 131 s")
		p := l.port(t, network.State{Answer: network.Drop})
		zero := time.Now()
		_, err := l.dial(t.Context(), p)

		require.Equal(t, undialled(p, os.NewSyscallError("connect", syscall.ETIMEDOUT)), err)
		require.Equal(t, "dial tcp "+p.Addr().String()+": connect: connection timed out", err.Error())
		require.True(t, err.(net.Error).Timeout())
		require.Equal(t, 131*time.Second, time.Since(zero))
		n, _, err := p.Dropped()
		require.NoError(t, err)
		require.Equal(t, 11, n, "the SYN and its retransmissions")
	}},
	{"a connect that is answered late completes with the client's next SYN", func(t *testing.T, l lab) {
		l.seconds(t)
		p := l.port(t, network.State{Answer: network.Drop})
		zero := time.Now()
		var c net.Conn
		got := begin(func() (n int, err error) { c, err = l.dial(t.Context(), p); return 0, err })
		l.eventually(t, "a SYN was dropped", func() bool { n, _, err := p.Dropped(); return err == nil && n > 0 })
		require.NoError(t, p.Become(network.State{Answer: network.Listen}))

		got.is(t, 0, nil)
		defer c.Close()
		if l.Virtual { // the kernel's timer wheel and other people's load add to it
			require.Equal(t, time.Second, time.Since(zero))
		}
		accept(t, p)
	}},
	{"a dial does not wait for Accept, and what it writes is there before", func(t *testing.T, l lab) {
		p := l.listen(t)
		c := l.client(t, p)
		writes(t, c, nil)
		require.NoError(t, c.CloseWrite())
		reads(t, accept(t, p), "hello", nil)
	}},
	{"IPv6 is the same with addresses of 16 bytes, written in brackets", func(t *testing.T, l lab) {
		p, err := l.stack.Bind(t.Context(), "tcp6", "")
		if err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
		defer p.Close()
		_, err = l.dial(t.Context(), p)
		require.Equal(t, undialled(p, os.NewSyscallError("connect", syscall.ECONNREFUSED)), err)
		require.Equal(t, fmt.Sprintf("dial tcp [::1]:%d: connect: connection refused", p.Addr().(*net.TCPAddr).Port), err.Error())
		require.NoError(t, p.Become(network.State{Answer: network.Listen}))
		c := l.client(t, p)
		s := accept(t, p)
		require.Equal(t, c.LocalAddr(), s.RemoteAddr())
		require.Len(t, s.RemoteAddr().(*net.TCPAddr).IP, net.IPv6len)
		require.NoError(t, c.Reset())
		reads(t, s, "", failed(s, "read", "read", syscall.ECONNRESET))
	}},
	{"addresses are *net.TCPAddr, IPv4 ones in four bytes, each end's the other's mirror", func(t *testing.T, l lab) {
		p := l.listen(t)
		c := l.client(t, p)
		s := accept(t, p)
		for _, a := range []net.Addr{p.Addr(), c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr()} {
			tcp, ok := a.(*net.TCPAddr)
			require.True(t, ok, "%T", a)
			require.Len(t, tcp.IP, net.IPv4len)
			require.Equal(t, "tcp", a.Network())
			require.NotZero(t, tcp.Port)
		}
		require.Equal(t, p.Addr(), c.RemoteAddr())
		require.Equal(t, p.Addr(), s.LocalAddr())
		require.Equal(t, c.LocalAddr(), s.RemoteAddr())
	}},
}

func (l lab) onlyVirtual(t *testing.T, why string) {
	t.Helper()
	if !l.Virtual {
		t.Skip(why)
	}
}

// seconds leaves a line out with -short where it waits for a timer in real time; in virtual time it
// costs nothing.
func (l lab) seconds(t *testing.T) {
	t.Helper()
	if !l.Virtual {
		manytests.KernelTimer(t)
	}
}

func (l lab) dial(ctx context.Context, p network.Port) (net.Conn, error) {
	return l.stack.DialContext(ctx, "tcp", p.Addr().String())
}

// undialled is the error of a dial: it has no source.
func undialled(p network.Port, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: parsed(p.Addr()), Err: err}
}

// parsed is the address as package net has read it from a string: an IPv4 one then has 16 bytes,
// though the addresses of sockets have 4.
func parsed(a net.Addr) net.Addr {
	tcp := *a.(*net.TCPAddr)
	tcp.IP = tcp.IP.To16()
	return &tcp
}

func (l lab) isCanceled(t *testing.T, p network.Port, err error) {
	t.Helper()
	op := l.isDialError(t, p, err, "operation was canceled")
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, op.Timeout())
}

// isDialError: package net does not export what is inside.
func (l lab) isDialError(t *testing.T, p network.Port, err error, why string) *net.OpError {
	t.Helper()
	require.Error(t, err)
	op, ok := err.(*net.OpError)
	require.True(t, ok, "%T", err)
	require.Equal(t, undialled(p, op.Err), err)
	require.Equal(t, "dial tcp "+p.Addr().String()+": "+why, err.Error())
	return op
}
