package conformance

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var past = time.Unix(1, 0)

// deadlineLines: a deadline has expired, or expires.
var deadlineLines = []line{
	{"an expired read deadline beats bytes that are there, and keeps them", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		writes(t, s, nil)
		l.awaitUnread(t, c, 5)
		require.NoError(t, c.SetReadDeadline(past))

		reads(t, c, "", ownError(c, "read", os.ErrDeadlineExceeded))
		n, err := c.Read(nil)
		require.Equal(t, []any{0, nil}, []any{n, err}, "an empty read asks nothing")
		writes(t, c, nil)
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		reads(t, c, "hello", nil)
	}},
	{"an expired read deadline beats EOF", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		require.NoError(t, s.CloseWrite())
		l.awaitFIN(t, c)
		require.NoError(t, c.SetReadDeadline(past))

		reads(t, c, "", ownError(c, "read", os.ErrDeadlineExceeded))
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		reads(t, c, "", io.EOF)
	}},
	{"an expired write deadline beats room, for an empty write too", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		require.NoError(t, c.SetWriteDeadline(past))

		writes(t, c, ownError(c, "write", os.ErrDeadlineExceeded))
		n, err := c.Write(nil)
		require.Equal(t, []any{0, ownError(c, "write", os.ErrDeadlineExceeded)}, []any{n, err})
		require.NoError(t, c.SetWriteDeadline(time.Time{}))
		writes(t, c, nil)
		reads(t, s, "hello", nil)
	}},
	{"an empty read and an empty write with nothing there return at once", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		n, err := c.Read(nil)
		require.Equal(t, []any{0, nil}, []any{n, err})
		n, err = c.Write(nil)
		require.Equal(t, []any{0, nil}, []any{n, err})
	}},
	{"a deadline that is moved into the past ends a read that waits", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		got := begin(func() (int, error) { return c.Read(make([]byte, 1)) })
		l.rest()
		require.NoError(t, c.SetDeadline(past))

		got.is(t, 0, ownError(c, "read", os.ErrDeadlineExceeded))
	}},
	{"a deadline is never early, and in virtual time exact", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		d := l.either(20*time.Millisecond, 30*time.Second)
		begin := time.Now()
		require.NoError(t, c.SetReadDeadline(begin.Add(d)))

		reads(t, c, "", ownError(c, "read", os.ErrDeadlineExceeded))
		l.after(t, begin, d)
	}},
	{"an error of a deadline is a timeout", func(t *testing.T, l lab) {
		c, _ := l.pair(t)
		require.NoError(t, c.SetReadDeadline(past))
		_, err := c.Read(make([]byte, 1))
		ne, ok := err.(interface{ Timeout() bool })
		require.True(t, ok && ne.Timeout(), "%v", err)
	}},
}

// either is one of two durations: what real time can bear, and what is asked in virtual time.
func (l lab) either(bearable, asked time.Duration) time.Duration {
	if l.Virtual {
		return asked
	}
	return bearable
}

// after: never before d, and in virtual time exactly then.
func (l lab) after(t *testing.T, begin time.Time, d time.Duration) {
	t.Helper()
	took := time.Since(begin)
	if l.Virtual {
		require.Equal(t, d, took)
		return
	}
	require.GreaterOrEqual(t, took, d)
}
