package conformance

import (
	"bytes"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// more is more than any buffers between two ends take; on Linux 6.18 they take 3.9 MB. How much
// exactly is the kernel's affair, and no line asks.
const more = 64 << 20

var zeros [more]byte

// fullLines: nobody reads, so a write waits.
var fullLines = []line{
	{"a deadline that ends a write tells how much it has written", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		got := l.fill(t, c, s)
		require.NoError(t, c.SetWriteDeadline(past))

		got.isPart(t, ownError(c, "write", os.ErrDeadlineExceeded))
	}},
	{"the other side's close, with bytes unread, ends a write with ECONNRESET", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		got := l.fill(t, c, s)
		closes(t, s)

		got.isPart(t, failed(c, "write", "write", syscall.ECONNRESET))
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
		reads(t, c, "", io.EOF)
	}},
	{"our own close ends a write", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		got := l.fill(t, c, s)
		closes(t, c)

		got.isPart(t, ownError(c, "write", net.ErrClosed))
	}},
	{"a write that waits goes on when the other side reads, and no byte is lost", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		got := l.fill(t, c, s)
		n, err := io.CopyN(io.Discard, s, more)
		require.NoError(t, err)
		require.EqualValues(t, more, n)

		got.is(t, more, nil)
	}},
	{"two writes at once do not mix", func(t *testing.T, l lab) {
		const each = 4 << 20
		c, s := l.pair(t)
		a := begin(func() (int, error) { return c.Write(bytes.Repeat([]byte("a"), each)) })
		b := begin(func() (int, error) { return c.Write(bytes.Repeat([]byte("b"), each)) })
		all := make([]byte, 2*each)
		_, err := io.ReadFull(s, all)
		require.NoError(t, err)

		a.is(t, each, nil)
		b.is(t, each, nil)
		first, second := all[:1], all[each:each+1]
		require.True(t, bytes.Equal(all[:each], bytes.Repeat(first, each)), "the first write is whole")
		require.True(t, bytes.Equal(all[each:], bytes.Repeat(second, each)), "the second write is whole")
	}},
	{"a small window stops a write within 64 KiB", func(t *testing.T, l lab) {
		p := l.port(t, network.State{Answer: network.Listen, SmallWindow: true})
		c := l.client(t, p)
		s := accept(t, p)
		got := l.fill(t, c, s)
		l.rest()
		require.NoError(t, c.SetWriteDeadline(past))

		n := got.isPart(t, ownError(c, "write", os.ErrDeadlineExceeded))
		require.LessOrEqual(t, n, 64<<10)
	}},
}

// fill begins a write that cannot end, and waits until some of it has arrived.
func (l lab) fill(t *testing.T, c, s network.Conn) waiting {
	t.Helper()
	w := begin(func() (int, error) { return c.Write(zeros[:]) })
	l.await(t, s, "some of it has arrived", func(i network.SocketInfo) bool { return i.Unread > 0 })
	return w
}

// isPart waits for a write that was ended.
func (w waiting) isPart(t *testing.T, err error) int {
	t.Helper()
	r := <-w.back
	require.Equal(t, err, r.err)
	require.Positive(t, r.n)
	require.Less(t, r.n, more)
	return r.n
}
