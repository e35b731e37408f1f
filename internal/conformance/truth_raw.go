package conformance

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/rawsock/sockpair"
	"example.com/go-sockettest/network"
)

// rawLines: what a connection's descriptor shows.
var rawLines = []line{
	{"the checks of database pools see an idle connection, bytes and EOF", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		for range 2 {
			alive(t, c, nil)
		}
		writes(t, s, nil)
		l.awaitUnread(t, c, 5)
		for range 2 {
			require.Equal(t, errUnexpectedRead, check(t, c, sockpair.Peek))
		}
		require.Equal(t, errUnexpectedRead, check(t, c, sockpair.Read))
		reads(t, c, "ello", nil)
		alive(t, c, nil)
		writes(t, s, nil)
		require.NoError(t, s.CloseWrite())
		l.awaitFIN(t, c)
		require.Equal(t, errUnexpectedRead, check(t, c, sockpair.Peek))
		reads(t, c, "hello", nil)
		alive(t, c, io.EOF)
		writes(t, c, nil)
		reads(t, s, "hello", nil)
	}},
	{"a descriptor shows RST after the bytes before it, once", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		alive(t, c, nil)
		writes(t, s, nil)
		require.NoError(t, s.Reset())
		l.awaitDead(t, c)
		reads(t, c, "hello", nil)
		require.NoError(t, raw(t, c).Control(func(uintptr) {}))
		require.Equal(t, syscall.ECONNRESET, check(t, c, sockpair.Read))
		alive(t, c, io.EOF)
		reads(t, c, "", io.EOF)
	}},
	{"an error that a read has told is not shown again", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		require.NoError(t, s.Reset())
		l.awaitDead(t, c)
		require.NoError(t, raw(t, c).Control(func(uintptr) {}))
		reads(t, c, "", failed(c, "read", "read", syscall.ECONNRESET))
		alive(t, c, io.EOF)
	}},
	{"a raw read waits for bytes, and a raw write sends", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		b, r := make([]byte, 64), raw(t, c)
		got := begin(func() (n int, err error) {
			err = r.Read(func(fd uintptr) bool {
				var e error
				n, e = sockpair.Read(int(fd), b)
				return e == nil
			})
			return n, err
		})
		l.rest()
		require.NoError(t, raw(t, s).Write(func(fd uintptr) bool {
			n, err := sockpair.Write(int(fd), []byte("hello"))
			require.NoError(t, err)
			require.Equal(t, 5, n)
			return true
		}))
		got.is(t, 5, nil)
		require.Equal(t, "hello", string(b[:5]))
		writes(t, s, nil)
		reads(t, c, "hello", nil)
	}},
	{"a raw write of much waits for room, and arrives whole", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		const all = 8 << 20
		r := raw(t, c)
		sent := begin(func() (n int, err error) {
			err = r.Write(func(fd uintptr) bool {
				k, _ := sockpair.Write(int(fd), zeros[n:all])
				n += max(k, 0)
				return n == all
			})
			return n, err
		})
		n, err := io.CopyN(io.Discard, s, all)
		require.NoError(t, err)
		require.EqualValues(t, all, n)
		sent.is(t, all, nil)
	}},
	{"a raw write after CloseWrite is EPIPE", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		alive(t, c, nil)
		require.NoError(t, c.CloseWrite())
		require.NoError(t, raw(t, c).Write(func(fd uintptr) bool {
			_, err := sockpair.Write(int(fd), []byte("hello"))
			return errors.Is(err, syscall.EPIPE)
		}))
	}},
	{"deadlines and Close end raw calls, which name the local address", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		never := func(uintptr) bool { return false }
		r := raw(t, c)
		require.NoError(t, c.SetDeadline(past))
		require.Equal(t, ownError(c, "raw-read", os.ErrDeadlineExceeded), r.Read(never))
		require.Equal(t, ownError(c, "raw-write", os.ErrDeadlineExceeded), r.Write(never))
		require.NoError(t, c.SetDeadline(time.Time{}))
		alive(t, c, nil)
		got := begin(func() (int, error) { return 0, r.Read(never) })
		l.rest()
		socket := socketOf(c)
		closes(t, c)
		got.is(t, 0, ownError(c, "raw-read", net.ErrClosed))
		require.Equal(t, ownError(c, "raw-read", net.ErrClosed), r.Read(never))
		require.Equal(t, ownError(c, "raw-write", net.ErrClosed), r.Write(never))
		require.Equal(t, unsourced(c, "raw-control", net.ErrClosed), r.Control(func(uintptr) {}))
		require.False(t, openHere(socket))
	}},
}

var errUnexpectedRead = errors.New("unexpected read from socket")

// raw returns the connection's descriptor.
func raw(t *testing.T, c network.Conn) syscall.RawConn {
	t.Helper()
	sc, ok := c.(syscall.Conn)
	if !ok {
		t.Skip("no descriptors here")
	}
	r, err := sc.SyscallConn()
	require.NoError(t, err)
	supported(t, r.Control(func(uintptr) {}))
	return r
}

// check looks at a connection as go-sql-driver/mysql (conncheck.go), which reads, and go-redis
// (conn_check.go), which peeks, do before they use it again.
func check(t *testing.T, c network.Conn, look func(int, []byte) (int, error)) (seen error) {
	t.Helper()
	err := raw(t, c).Read(func(fd uintptr) bool {
		var b [1]byte
		n, err := look(int(fd), b[:])
		switch {
		case n == 0 && err == nil:
			seen = io.EOF
		case n > 0:
			seen = errUnexpectedRead
		case !errors.Is(err, syscall.EAGAIN):
			seen = err
		}
		return true
	})
	require.NoError(t, err)
	return seen
}

// alive is what both checks say.
func alive(t *testing.T, c network.Conn, want error) {
	t.Helper()
	require.Equal(t, want, check(t, c, sockpair.Read), "reading")
	require.Equal(t, want, check(t, c, sockpair.Peek), "peeking")
}

func unsourced(c net.Conn, op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: c.LocalAddr(), Err: err}
}
