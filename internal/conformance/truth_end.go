package conformance

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// endLines: the other side has closed.
var endLines = []line{
	{"a write after the other side's close takes half a megabyte before it sees RST", func(t *testing.T, l lab) {
		for _, half := range []bool{false, true} {
			c, s := l.pair(t)
			if half {
				require.NoError(t, s.CloseRead())
				require.NoError(t, s.CloseWrite())
			} else {
				closes(t, s)
			}
			l.awaitFIN(t, c)
			n, err := c.Write(zeros[:1<<20])
			require.Equal(t, failed(c, "write", "write", syscall.EPIPE), err)
			require.Equal(t, 512<<10, n)
		}
	}},
	{"Close after SetLinger(1) waits a second for what nobody reads, and no longer than needed", func(t *testing.T, l lab) {
		l.seconds(t)
		for _, read := range []bool{false, true} {
			c, s := l.pair(t)
			seconds := 1
			if read {
				seconds = 60
			}
			ln, ok := c.(interface{ SetLinger(sec int) error })
			if !ok {
				t.Skip("no SetLinger")
			}
			require.NoError(t, c.SetWriteDeadline(time.Now().Add(l.either(50*time.Millisecond, time.Second))))
			n, err := c.Write(zeros[:])
			require.Equal(t, ownError(c, "write", os.ErrDeadlineExceeded), err)
			require.NoError(t, ln.SetLinger(seconds))
			begin, got := time.Now(), make(chan struct{})
			go func() {
				defer close(got)
				if read {
					_, _ = io.CopyN(io.Discard, s, int64(n))
				}
			}()
			closes(t, c)
			took := time.Since(begin)
			<-got
			if read {
				require.Less(t, took, 60*time.Second)
				continue
			}
			require.GreaterOrEqual(t, took, time.Second)
			if l.Virtual {
				require.Equal(t, time.Second, took)
			}
		}
	}},
	{"closed with nothing unread, the reader gets EOF and its writes EPIPE from the second on", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		closes(t, s)

		reads(t, c, "", io.EOF)
		writes(t, c, nil)
		l.awaitDead(t, c)
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
		reads(t, c, "", io.EOF)
	}},
	{"closed with bytes unread, a read gets ECONNRESET once, then EOF, and a write EPIPE", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		l.closeUnread(t, c, s)

		reads(t, c, "", failed(c, "read", "read", syscall.ECONNRESET))
		reads(t, c, "", io.EOF)
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
	}},
	{"closed with bytes unread, a write that comes first takes the ECONNRESET", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		l.closeUnread(t, c, s)

		writes(t, c, failed(c, "write", "write", syscall.ECONNRESET))
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
		reads(t, c, "", io.EOF)
	}},
	{"closed with bytes unread, an empty read does not take the ECONNRESET", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		l.closeUnread(t, c, s)

		n, err := c.Read(nil)
		require.Equal(t, []any{0, nil}, []any{n, err})
		reads(t, c, "", failed(c, "read", "read", syscall.ECONNRESET))
	}},
	{"reset after three bytes, the bytes come first, then ECONNRESET once, then EOF", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		_, err := s.Write([]byte("abc"))
		require.NoError(t, err)
		require.NoError(t, s.Reset())
		l.awaitDead(t, c)

		reads(t, c, "abc", nil)
		reads(t, c, "", failed(c, "read", "read", syscall.ECONNRESET))
		reads(t, c, "", io.EOF)
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
	}},
	{"reset after FIN, reads get EOF only and the first write EPIPE", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		require.NoError(t, s.CloseWrite())
		l.awaitFIN(t, c)
		require.NoError(t, s.Reset())
		l.awaitDead(t, c)

		reads(t, c, "", io.EOF)
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
	}},
	{"reset while a read waits, it gets ECONNRESET", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		got := begin(func() (int, error) { return c.Read(make([]byte, 1)) })
		l.rest()
		require.NoError(t, s.Reset())

		got.is(t, 0, failed(c, "read", "read", syscall.ECONNRESET))
	}},
	{"closed while a read waits, it gets EOF", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		got := begin(func() (int, error) { return c.Read(make([]byte, 1)) })
		l.rest()
		closes(t, s)

		got.is(t, 0, io.EOF)
	}},
	{"after our own close every call says that it is closed, empty ones too", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		closes(t, c)

		for _, b := range [][]byte{nil, {1}} {
			n, err := c.Read(b)
			require.Equal(t, []any{0, ownError(c, "read", net.ErrClosed)}, []any{n, err})
			n, err = c.Write(b)
			require.Equal(t, []any{0, ownError(c, "write", net.ErrClosed)}, []any{n, err})
		}
		require.Equal(t, ownError(c, "close", net.ErrClosed), c.Close())
		require.Equal(t, ownError(c, "close", net.ErrClosed), c.CloseRead())
		require.Equal(t, ownError(c, "close", net.ErrClosed), c.CloseWrite())
		require.ErrorIs(t, c.Reset(), net.ErrClosed)
		for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
			require.Equal(t, unset(c, net.ErrClosed), set(time.Time{}))
		}
	}},
	{"our own close ends a read that waits", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		got := begin(func() (int, error) { return c.Read(make([]byte, 1)) })
		l.rest()
		closes(t, c)

		got.is(t, 0, ownError(c, "read", net.ErrClosed))
	}},
}

// closeUnread closes s while a byte waits there to be read: c gets RST.
func (l lab) closeUnread(t *testing.T, c, s network.Conn) {
	t.Helper()
	writes(t, c, nil)
	l.awaitUnread(t, s, len("hello"))
	closes(t, s)
	l.awaitDead(t, c)
}
