package conformance

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// A line of the truth table: a situation, and what package net's caller observes in it on Linux.
type line struct {
	name string
	test func(t *testing.T, l lab)
}

// Truth runs the truth table: what was observed on Linux 6.18, loopback, with Go 1.26. Where an
// error is stated it is so to the last field: operation, network, addresses, system call, errno,
// and so the text.
func Truth(t *testing.T, w World) {
	for _, n := range slices.Concat(endLines, halfLines, deadlineLines, fullLines, dialLines, portLines, lossLines, packetLines, rawLines) {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			w.run(t, func(t *testing.T, s network.Stack) { n.test(t, lab{w, s}) })
		})
	}
}

// A lab is what a line needs: the stack, and what the world says of it.
type lab struct {
	World
	stack network.Stack
}

// port binds an address in state s, for the test's life.
func (l lab) port(t *testing.T, s network.State) network.Port {
	t.Helper()
	p, err := l.stack.Bind(t.Context(), "tcp", l.anyPort())
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	require.NoError(t, p.Become(s))
	return p
}

// listen binds a port that listens.
func (l lab) listen(t *testing.T) network.Port {
	t.Helper()
	return l.port(t, network.State{Answer: network.Listen})
}

// client connects to p; the connection is reset when the test ends, so that no TIME-WAIT stays
// behind.
func (l lab) client(t *testing.T, p network.Port) network.Conn {
	t.Helper()
	c, err := l.stack.Connect(t.Context(), "tcp", p.Addr().String(), network.ConnectOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Reset() })
	return c
}

func accept(t *testing.T, p network.Port) network.Conn {
	t.Helper()
	s, err := p.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	return s
}

// pair is a connection's two ends.
func (l lab) pair(t *testing.T) (client, server network.Conn) {
	t.Helper()
	p := l.listen(t)
	client = l.client(t, p)
	return client, accept(t, p)
}

// await waits until c's end looks as it should: what the other side has sent is then there. Virtual
// time has come to rest by itself.
func (l lab) await(t *testing.T, c network.Conn, what string, ok func(network.SocketInfo) bool) {
	t.Helper()
	l.eventually(t, what, func() bool {
		info, err := c.Info()
		require.True(t, err == nil || info.Own.State != "", "%v", err)
		return ok(info.Own)
	})
}

// eventually waits for what the kernel does by itself. It looks again and again: nothing tells us.
func (l lab) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if l.Virtual {
		synctest.Wait()
		require.True(t, ok(), what)
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); !ok(); <-tick.C {
		require.Less(t, time.Since(begin), patience, "not yet: %s", what)
	}
}

func unread(n int) func(network.SocketInfo) bool {
	return func(i network.SocketInfo) bool { return i.Unread == n }
}

func (l lab) awaitDead(t *testing.T, c network.Conn) {
	t.Helper()
	l.await(t, c, "the connection is dead", dead)
}

func (l lab) awaitFIN(t *testing.T, c network.Conn) {
	t.Helper()
	l.await(t, c, "FIN has arrived", ended)
}

func (l lab) awaitUnread(t *testing.T, c network.Conn, n int) {
	t.Helper()
	l.await(t, c, "the bytes have arrived", unread(n))
}

// failed is the error of a system call on c.
func failed(c net.Conn, op, call string, e syscall.Errno) error {
	return ownError(c, op, os.NewSyscallError(call, e))
}

// ownError is package net's own error on c.
func ownError(c net.Conn, op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// unset is what setting an option or a deadline gives: its address is the local one, and it has no
// source.
func unset(c net.Conn, err error) error { return unsourced(c, "set", err) }

// reads reads up to 64 bytes.
func reads(t *testing.T, c net.Conn, want string, wantErr error) {
	t.Helper()
	b := make([]byte, 64)
	n, err := c.Read(b)
	require.Equal(t, wantErr, err)
	require.Equal(t, want, string(b[:n]))
}

// writes writes "hello".
func writes(t *testing.T, c net.Conn, wantErr error) {
	t.Helper()
	n, err := c.Write([]byte("hello"))
	require.Equal(t, wantErr, err)
	if wantErr == nil {
		require.Equal(t, len("hello"), n)
		return
	}
	require.Zero(t, n)
}

func closes(t *testing.T, c io.Closer) {
	t.Helper()
	require.NoError(t, c.Close())
}

// supported skips a line that the stack says it cannot do.
func supported(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
}
