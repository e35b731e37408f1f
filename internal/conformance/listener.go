package conformance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// Listeners runs the suite for a [net.Listener], as the stack's Listen gives it. It is to listeners
// what golang.org/x/net/nettest.TestConn is to connections, and asks for more: each error to its
// last field.
func Listeners(t *testing.T, w World) {
	for _, n := range listenerLines {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			w.run(t, func(t *testing.T, s network.Stack) {
				n.test(t, lab{w, s})
			})
		})
	}
}

// listener is one for the test's life.
func (l lab) listener(t *testing.T) net.Listener {
	t.Helper()
	ln, err := l.stack.Listen(t.Context(), "tcp", l.anyPort())
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// quietPorts counts the ports of quietListener, from below the range that kernels draw from.
var quietPorts atomic.Uint32

// quietListener is one at a port that nobody else is given while it does not listen.
func (l lab) quietListener(t *testing.T) net.Listener {
	t.Helper()
	for {
		at := net.JoinHostPort(l.host(), strconv.Itoa(20000+int(quietPorts.Add(1)%10000)))
		if ln, err := l.stack.Listen(t.Context(), "tcp", at); !errors.Is(err, syscall.EADDRINUSE) {
			require.NoError(t, err)
			t.Cleanup(func() { _ = ln.Close() })
			return ln
		}
	}
}

// givesBack closes ln, which gives its address back at once, and reports whether somebody may have
// it still: a child that another test has forked has its socket, too, until its own program begins.
func givesBack(t *testing.T, ln net.Listener) (forked bool) {
	t.Helper()
	socket := socketOf(ln)
	closes(t, ln)
	require.False(t, openHere(socket))
	return socket != ""
}

// listenAgain closes ln, and listens there.
func (l lab) listenAgain(t *testing.T, ln net.Listener) net.Listener {
	t.Helper()
	forked := givesBack(t, ln)
	again, err := l.stack.Listen(t.Context(), "tcp", ln.Addr().String())
	for forked && errors.Is(err, syscall.EADDRINUSE) {
		again, err = l.stack.Listen(t.Context(), "tcp", ln.Addr().String())
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = again.Close() })
	return again
}

// socketOf is what /proc/self/fd says of the descriptor of a listener or a connection; empty if it
// has none.
func socketOf(of any) (socket string) {
	if sc, ok := of.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { socket, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)) })
		}
	}
	return socket
}

// openHere reports whether this process has a descriptor of the socket.
func openHere(socket string) bool {
	all, _ := os.ReadDir("/proc/self/fd")
	return socket != "" && slices.ContainsFunc(all, func(e os.DirEntry) bool {
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		return link == socket
	})
}

// to connects to ln; see [lab.client].
func (l lab) to(t *testing.T, ln net.Listener) network.Conn {
	t.Helper()
	c, err := l.stack.Connect(t.Context(), "tcp", ln.Addr().String(), network.ConnectOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Reset() })
	return c
}

func taken(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	c, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// refusedTo is the error of a listener's method: it has no source.
func refusedTo(ln net.Listener, op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: ln.Addr(), Err: err}
}

// acceptError also asks that what comes with an error is no connection, and no nil pointer in an
// interface.
func acceptError(t *testing.T, ln net.Listener, want error) {
	t.Helper()
	c, err := ln.Accept()
	require.True(t, c == nil, "Accept returned %T with an error", c)
	require.Equal(t, want, err)
}

var listenerLines = append([]line{
	{"Addr is where it can be dialled, and stays so after Close", func(t *testing.T, l lab) {
		ln := l.listener(t)
		a, ok := ln.Addr().(*net.TCPAddr)
		require.True(t, ok, "%T", ln.Addr())
		require.NotZero(t, a.Port)
		require.Equal(t, l.host(), a.IP.String())
		c := l.to(t, ln)
		require.Equal(t, ln.Addr(), c.RemoteAddr())
		closes(t, ln)
		require.Equal(t, a, ln.Addr())
	}},
	{"an accepted connection's addresses are the client's mirrored", func(t *testing.T, l lab) {
		ln := l.listener(t)
		c := l.to(t, ln)
		s := taken(t, ln)
		require.Equal(t, c.LocalAddr(), s.RemoteAddr())
		require.Equal(t, c.RemoteAddr(), s.LocalAddr())
	}},
	{"Accept after Close is net.ErrClosed, again and again", func(t *testing.T, l lab) {
		ln := l.listener(t)
		closes(t, ln)
		for range 3 {
			acceptError(t, ln, refusedTo(ln, "accept", net.ErrClosed))
		}
	}},
	{"only the first Close succeeds, one after another or all at once", func(t *testing.T, l lab) {
		ln := l.listener(t)
		errs := make(chan error)
		for range 8 {
			go func() { errs <- ln.Close() }()
		}
		nils := 0
		for range 8 {
			if err := <-errs; err == nil {
				nils++
			} else {
				require.Equal(t, refusedTo(ln, "close", net.ErrClosed), err)
			}
		}
		require.Equal(t, 1, nils)
		require.Equal(t, refusedTo(ln, "close", net.ErrClosed), ln.Close())
	}},
	{"Close ends every Accept that waits", func(t *testing.T, l lab) {
		ln := l.listener(t)
		errs := make(chan error)
		for range 8 {
			go func() { _, err := ln.Accept(); errs <- err }()
		}
		l.rest()
		closes(t, ln)
		for range 8 {
			require.Equal(t, refusedTo(ln, "accept", net.ErrClosed), <-errs)
		}
	}},
	{"Close gives the address back at once, though an Accept was waiting", func(t *testing.T, l lab) { // go.dev/issue/21856
		ln := l.quietListener(t)
		for range 10 {
			got := begin(func() (int, error) { _, err := ln.Accept(); return 0, err })
			l.rest()
			again := l.listenAgain(t, ln)
			got.is(t, 0, refusedTo(ln, "accept", net.ErrClosed))
			ln = again
		}
		closes(t, ln)
	}},
	{"what was queued when it closed is reset, and no later listener gets it", func(t *testing.T, l lab) { // go.dev/issue/50216
		ln := l.quietListener(t)
		c := l.to(t, ln)
		again := l.listenAgain(t, ln)
		acceptError(t, ln, refusedTo(ln, "accept", net.ErrClosed))
		reads(t, c, "", failed(c, "read", "read", syscall.ECONNRESET))
		d := l.to(t, again)
		require.Equal(t, d.LocalAddr(), taken(t, again).RemoteAddr())
	}},
	{"Close leaves accepted connections alone", func(t *testing.T, l lab) {
		ln := l.listener(t)
		c := l.to(t, ln)
		s := taken(t, ln)
		closes(t, ln)
		writes(t, c, nil)
		reads(t, s, "hello", nil)
		writes(t, s, nil)
		reads(t, c, "hello", nil)
	}},
	{"after Close a dial is refused", func(t *testing.T, l lab) {
		ln := l.quietListener(t)
		forked := givesBack(t, ln)
		c, err := l.stack.DialContext(t.Context(), "tcp", ln.Addr().String())
		for forked && err == nil {
			require.NoError(t, c.Close())
			c, err = l.stack.DialContext(t.Context(), "tcp", ln.Addr().String())
		}
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}},
	{"a second listener on the address is EADDRINUSE", func(t *testing.T, l lab) {
		ln := l.listener(t)
		_, err := l.stack.Listen(t.Context(), "tcp", ln.Addr().String())
		require.Equal(t, &net.OpError{
			Op: "listen", Net: "tcp", Addr: parsed(ln.Addr()), Err: os.NewSyscallError("bind", syscall.EADDRINUSE),
		}, err)
	}},
	{"what a client wrote before it closed is there when it is accepted", func(t *testing.T, l lab) {
		ln := l.listener(t)
		c := l.to(t, ln)
		writes(t, c, nil)
		require.NoError(t, c.CloseWrite())
		s := taken(t, ln)
		b, err := io.ReadAll(s)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b))
	}},
}, slowLines...)
