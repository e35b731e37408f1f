package conformance

import (
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// halfLines: one direction is closed.
var halfLines = []line{
	{"after CloseWrite the other side reads EOF, our writes are EPIPE, and it can be called again", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		require.NoError(t, c.CloseWrite())

		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
		require.NoError(t, c.CloseWrite())
		reads(t, s, "", io.EOF)
		writes(t, s, nil)
		reads(t, c, "hello", nil)
	}},
	{"CloseWrite is ENOTCONN once both sides have sent FIN", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		require.NoError(t, c.CloseWrite())
		l.awaitFIN(t, s)
		require.NoError(t, s.CloseWrite())
		l.awaitDead(t, c)
		l.awaitDead(t, s)

		require.Equal(t, failed(c, "close", "shutdown", syscall.ENOTCONN), c.CloseWrite())
		require.Equal(t, failed(c, "close", "shutdown", syscall.ENOTCONN), c.CloseRead())
		reads(t, c, "", io.EOF)
	}},
	{"after CloseRead what has arrived can be read, then EOF; what arrives later, too", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		writes(t, s, nil)
		l.awaitUnread(t, c, 5)
		require.NoError(t, c.CloseRead())

		reads(t, c, "hello", nil)
		reads(t, c, "", io.EOF)
		writes(t, s, nil)
		l.awaitUnread(t, c, 5)
		reads(t, c, "hello", nil)
		reads(t, c, "", io.EOF)
		writes(t, s, nil)
		writes(t, c, nil)
		reads(t, s, "hello", nil)
	}},
	{"CloseRead ends a read that waits with EOF", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		got := begin(func() (int, error) { return c.Read(make([]byte, 1)) })
		l.rest()
		require.NoError(t, c.CloseRead())

		got.is(t, 0, io.EOF)
	}},
	{"after CloseRead and CloseWrite what the other side writes is answered with RST", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		require.NoError(t, c.CloseRead())
		require.NoError(t, c.CloseWrite())
		l.awaitFIN(t, s)
		writes(t, s, nil)
		l.awaitDead(t, s)

		reads(t, s, "", io.EOF)
		writes(t, s, failed(s, "write", "write", syscall.EPIPE))
	}},
	{"the method set of a TCP connection is there on what DialContext returns", func(t *testing.T, l lab) {
		c, err := l.stack.DialContext(t.Context(), "tcp", l.listen(t).Addr().String())
		require.NoError(t, err)
		defer c.Close()

		tcp, ok := c.(tcpConn)
		require.True(t, ok, "%T lacks a method of *net.TCPConn", c)
		require.NoError(t, tcp.SetNoDelay(false))
		require.NoError(t, tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}))
		require.NoError(t, tcp.SetReadBuffer(1<<16))
		require.NoError(t, tcp.SetWriteBuffer(1<<16))
		require.NoError(t, tcp.SetLinger(0))
		closes(t, tcp)
		require.Equal(t, ownError(c, "set", net.ErrClosed), tcp.SetLinger(0))
		require.Equal(t, ownError(c, "set", net.ErrClosed), tcp.SetNoDelay(true))
		require.Equal(t, unset(c, net.ErrClosed), tcp.SetReadBuffer(1<<16))
		require.Equal(t, ownError(c, "set", net.ErrClosed), tcp.SetKeepAliveConfig(net.KeepAliveConfig{}))
	}},
}

// A tcpConn has what of *net.TCPConn's methods needs no file descriptor.
type tcpConn interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
	SetLinger(sec int) error
	SetNoDelay(bool) error
	SetKeepAliveConfig(net.KeepAliveConfig) error
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
}
