package sockettest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// answering is a server that answers each line after some work, with a limit on each write. It ends
// with the test.
func answering(t *testing.T, ln net.Listener, work, limit time.Duration, answer string) {
	t.Helper()
	var serving sync.WaitGroup
	serving.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if tc, ok := c.(*net.TCPConn); ok { // less to fill
			assert.NoError(t, errors.Join(tc.SetReadBuffer(4<<10), tc.SetWriteBuffer(4<<10)))
		}
		r := bufio.NewReader(c)
		for {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			if work > 0 {
				time.Sleep(work) // in a bubble
			}
			_ = c.SetWriteDeadline(time.Now().Add(limit))
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		serving.Wait()
	})
}

// A late network returns its connections when they have been there for a while.
type lateNetwork struct {
	network.Stack
	by time.Duration
}

func (s lateNetwork) Connect(ctx context.Context, family, addr string, o network.ConnectOptions) (network.Conn, error) {
	c, err := s.Stack.Connect(ctx, family, addr, o)
	time.Sleep(s.by)
	return c, err
}

// A client that is slow to learn that it is connected makes no server too early.
func TestExpectEndOfALateConnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				time.Sleep(time.Second)
				_ = c.Close()
			}
		}()
		a := Start(t, hostile.ConnectOnly{Target: ln.Addr().String()}, On(lateNetwork{nw, 800 * time.Millisecond}))
		require.NoError(t, a.AwaitEnds(t.Context()))
		ExpectEnd(t, a, Blocked.For(900*time.Millisecond))
	})
}

// A server that answers for a while before its write is blocked is not late, and one that is late
// then is.
func TestExpectEndOfABlockedWrite(t *testing.T) {
	t.Parallel()
	const limit = 30 * time.Second
	for _, tt := range []struct {
		name  string
		limit time.Duration // the server's
		want  string
	}{
		{"right", limit, ""},
		{"late", limit + time.Second, "connection #1: reset 1s too late"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(t)
				ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
				require.NoError(t, err)
				answering(t, ln, 100*time.Millisecond, tt.limit, "VALUE 1\n")
				a := Start(t, hostile.NeverRead{Target: ln.Addr().String(), Data: "GET k\n"}, On(nw))
				tb := faketb.Run(t, func(tb *faketb.TB) { ExpectEnd(tb, a, Disconnected.At(limit)) })
				c := a.Conns()[0]
				blocked := c.JudgedFrom()
				assert.Greater(t, blocked, 2*limit, "thousands of answers fit")
				end, at := c.PeerEnd()
				assert.NotEqual(t, fixtures.Open, end)
				assert.Equal(t, tt.limit, at-blocked)
				if tt.want == "" {
					assert.Empty(t, tb.Text())
				} else {
					assert.Contains(t, tb.Text(), tt.want)
					assert.Contains(t, tb.Text(), " of when its writes stopped, at 6m27s")
				}
			})
		})
	}
}

// The same on the kernel, where the answers are so small that thousands fit.
func TestExpectEndOfABlockedWriteOnTheKernel(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	answering(t, ln, 0, limit, "VALUE 1\n")
	a := Start(t, hostile.NeverRead{Target: ln.Addr().String(), Data: "GET k\n"})
	ExpectEnd(t, a, Disconnected.After(limit))
	assert.Greater(t, a.Conns()[0].JudgedFrom(), a.Conns()[0].Opened())
}

// A server's limit begins when it can know of the connection, and not with the client's first SYN.
func TestExpectEndDoesNotCountTheConnect(t *testing.T) {
	t.Parallel()
	const far, limit = time.Second, 300 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		defer nw.Latency(far)()
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				time.Sleep(limit)
				_ = c.Close()
			}
		}()
		a := Start(t, hostile.ConnectOnly{Target: ln.Addr().String()}, On(nw))
		assert.Equal(t, 2*far, a.Conns()[0].JudgedFrom())
		ExpectEnd(t, a, Closed.Before(limit+2*far)) // its ACK and the server's FIN are on their way for that long
	})
}

// A handler of HTTP/2 that works before it answers is not late either.
func TestExpectEndCountsFromTheAnswerOfHTTP2(t *testing.T) {
	t.Parallel()
	const work, limit = 10 * time.Second, 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		serveSlowly(t, ln, work, limit)
		a := Start(t, hostile.ClosedWindow{Target: ln.Addr().String()}, On(nw))
		ExpectEnd(t, a, Disconnected.At(limit))
		assert.Equal(t, work, a.Conns()[0].JudgedFrom())
	})
}

// serveSlowly is a server of HTTP/2 that answers after some work, and gives up when its body has
// waited for limit.
func serveSlowly(t *testing.T, ln net.Listener, work, limit time.Duration) {
	t.Helper()
	var serving sync.WaitGroup
	serving.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, err = io.WriteString(c, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
		assert.NoError(t, err)
		time.Sleep(work)                                                       // in a bubble
		_, err = io.WriteString(c, "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88") // HEADERS: 200
		assert.NoError(t, err)
		time.Sleep(limit)
	})
	t.Cleanup(func() {
		_ = ln.Close()
		serving.Wait()
	})
}
