package simnet_test

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// forever is what no test waits for in real time.
const forever = time.Hour

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T, nw *simnet.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, simnet.New(t)) })
}

// pair returns the two ends of a connection, closed with the test.
func pair(t *testing.T, nw *simnet.Network) (client, server *simnet.Conn) {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c, err := nw.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	s, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*simnet.Conn), s.(*simnet.Conn)
}

// bound is a port in a state.
func bound(t *testing.T, nw *simnet.Network, s network.State) network.Port {
	t.Helper()
	p, err := nw.Bind(t.Context(), "tcp", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	require.NoError(t, p.Become(s))
	return p
}

func write(t *testing.T, c net.Conn, data string) {
	t.Helper()
	n, err := io.WriteString(c, data)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	require.Equal(t, want, string(b))
}

func readErr(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}

func writeErr(c net.Conn) error {
	_, err := c.Write([]byte{1})
	return err
}

func TestBytesGoBothWays(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		assert.Equal(t, c.LocalAddr(), s.RemoteAddr())
		assert.Equal(t, s.LocalAddr(), c.RemoteAddr())
		write(t, c, "ping")
		read(t, s, "ping")
		write(t, s, "pong")
		read(t, c, "pong")
	})
}

func TestCloseIsFIN(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		write(t, s, "bye")
		require.NoError(t, s.Close())
		read(t, c, "bye")
		require.Equal(t, io.EOF, readErr(c))
		require.NoError(t, writeErr(c))
		require.ErrorIs(t, writeErr(c), syscall.EPIPE)
		require.Equal(t, io.EOF, readErr(c))
		require.ErrorIs(t, s.Close(), net.ErrClosed)
	})
}

func TestCloseWithUnreadDataIsRST(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		write(t, s, "abc")
		write(t, c, "unread")
		require.NoError(t, s.Close())
		read(t, c, "abc")
		err := readErr(c)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		assert.Equal(t, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("read", syscall.ECONNRESET)}, err)
		require.Equal(t, io.EOF, readErr(c))
		require.ErrorIs(t, writeErr(c), syscall.EPIPE)
	})
}

func TestDialIsRefused(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		_, err := nw.Dial("tcp", "127.0.0.1:80")
		require.EqualError(t, err, "dial tcp 127.0.0.1:80: connect: connection refused")
	})
}

// A black hole holds a dial up to its context's end, or the kernel's patience.
func TestDialHangs(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		p := bound(t, nw, network.State{Answer: network.Drop})
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := nw.DialContext(ctx, "tcp", p.Addr().String())
		require.EqualError(t, err, "dial tcp "+p.Addr().String()+": i/o timeout")
		assert.Equal(t, 30*time.Second, time.Since(begin))
		n, _, err := p.Dropped()
		require.NoError(t, err)
		assert.Equal(t, 9, n) // at 0, 1, 2, 3, 4, 5, 7, 11 and 19 s

		begin = time.Now()
		_, err = nw.Dial("tcp", p.Addr().String())
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.Equal(t, 131*time.Second, time.Since(begin))
	})
}

func TestWriteBlocksAtTheZeroWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		begin := time.Now()
		require.NoError(t, c.SetWriteDeadline(begin.Add(forever)))
		n, err := c.Write(make([]byte, 16<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, forever, time.Since(begin))
		require.NoError(t, c.CloseWrite())
		got, err := io.Copy(io.Discard, s)
		require.NoError(t, err)
		assert.EqualValues(t, n, got)
	})
}

// What is sent into a partition arrives with the retransmission after it ends: 0.2, 0.6, 1.4, 3,
// 6.2, 12.6 s.
func TestHealDeliversByRetransmission(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		require.NoError(t, s.Partition())
		begin := time.Now()
		write(t, c, "late")
		require.NoError(t, c.CloseWrite())
		time.Sleep(10 * time.Second)
		info, err := c.Info()
		require.NoError(t, err)
		assert.Equal(t, 5, info.Own.Retransmits)
		require.NoError(t, s.Heal())
		read(t, s, "late")
		assert.Equal(t, 12600*time.Millisecond, time.Since(begin))
		require.Equal(t, io.EOF, readErr(s))
	})
}

// What arrives ends the back-off: the next loss is repaired as quickly as the first.
func TestBackOffBeginsAgainAfterSuccess(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		for range 3 {
			require.NoError(t, s.Partition())
			begin := time.Now()
			write(t, c, "late")
			time.Sleep(time.Second)
			require.NoError(t, s.Heal())
			read(t, s, "late")
			assert.Equal(t, 1400*time.Millisecond, time.Since(begin))
		}
	})
}

// Who hears nothing sends as much as there was room for when it last heard, whatever is read
// meanwhile.
func TestPartitionHidesThatTheWindowOpens(t *testing.T) {
	t.Parallel()
	for _, unread := range []int{0, 20_000, 65_536} {
		bubble(t, func(t *testing.T, nw *simnet.Network) {
			const room, more = 65_536, 200_000
			c, s := pair(t, nw)
			require.NoError(t, s.SetReadBuffer(room/2)) // Linux doubles it
			write(t, c, strings.Repeat("a", unread))
			require.NoError(t, c.Partition())
			read(t, s, strings.Repeat("a", unread))
			write(t, c, strings.Repeat("b", more))
			time.Sleep(time.Minute) // it sends again what it hears no acknowledgement of
			info, err := s.Info()
			require.NoError(t, err)
			require.Equal(t, room-unread, info.Own.Unread)
			require.NoError(t, c.Heal())
			read(t, s, strings.Repeat("b", more))
		})
	}
}

func TestPartitionEndsInTimeouts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		setUp func(c *simnet.Conn) error
		want  time.Duration
	}{
		"keep-alive": {func(*simnet.Conn) error { return nil }, 150 * time.Second},
		"keep-alive of Linux": {func(c *simnet.Conn) error {
			return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 2 * time.Hour, Interval: 75 * time.Second})
		}, 2*time.Hour + 9*75*time.Second},
		"retransmission":       {func(c *simnet.Conn) error { return writeErr(c) }, 924600 * time.Millisecond},
		"TCP_USER_TIMEOUT":     {func(c *simnet.Conn) error { _ = c.SetUserTimeout(7 * time.Second); return writeErr(c) }, 7 * time.Second},
		"its acknowledgements": {func(c *simnet.Conn) error { return writeErr(c) }, 924600 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				c, s := pair(t, nw)
				cut := s
				if name == "its acknowledgements" {
					cut = c
				}
				require.NoError(t, s.SetKeepAlive(false)) // it would give up as well, and its RST arrive
				require.NoError(t, cut.Partition())
				begin := time.Now()
				require.NoError(t, tt.setUp(c))
				require.ErrorIs(t, readErr(c), syscall.ETIMEDOUT)
				assert.Equal(t, tt.want, time.Since(begin))
				require.Equal(t, io.EOF, readErr(c))
				require.ErrorIs(t, writeErr(c), syscall.EPIPE)
			})
		})
	}
}

func TestAwaitAckedIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		client, server := pair(t, nw)
		require.NoError(t, server.AwaitAcked(t.Context()), "nothing was written")
		undo := nw.Latency(30 * time.Millisecond)
		_, err := server.Write([]byte("x"))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, server.AwaitAcked(ctx), context.DeadlineExceeded)
		begin := time.Now()
		require.NoError(t, server.AwaitAcked(t.Context()))
		assert.Equal(t, 29*time.Millisecond, time.Since(begin))
		undo()

		for _, tt := range []struct {
			what  string
			end   *simnet.Conn
			heard bool
		}{{"the data is lost", client, false}, {"the acknowledgement is lost", server, false}, {"data acknowledges", server, true}} {
			require.NoError(t, tt.end.Partition())
			_, err = server.Write([]byte("x"))
			require.NoError(t, err)
			got := make(chan error, 1)
			go func() { got <- server.AwaitAcked(t.Context()) }()
			synctest.Wait()
			require.Empty(t, got, tt.what)
			require.NoError(t, tt.end.Heal())
			if tt.heard {
				_, err = client.Write([]byte("y"))
				require.NoError(t, err)
			}
			require.NoError(t, <-got, tt.what)
		}

		require.NoError(t, client.Partition())
		_, err = server.Write([]byte("x"))
		require.NoError(t, err)
		got := make(chan error, 1)
		go func() { got <- server.AwaitAcked(t.Context()) }()
		synctest.Wait()
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-got, net.ErrClosed)
	})
}

// A write is stuck from when the last that the other end takes has arrived there.
func TestAwaitStuckIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		client, server := pair(t, nw)
		nw.Latency(30 * time.Millisecond)
		wrote := make(chan error, 1)
		begin := time.Now()
		go func() { _, err := server.Write(make([]byte, 64<<20)); wrote <- err }()
		ctx, cancel := context.WithTimeout(t.Context(), 29*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, server.AwaitStuck(ctx), context.DeadlineExceeded)
		require.NoError(t, server.AwaitStuck(t.Context()))
		assert.Equal(t, 30*time.Millisecond, time.Since(begin))
		n, err := client.Read(make([]byte, 32<<20))
		require.NoError(t, err)
		require.Positive(t, n)
		got := make(chan error, 1)
		require.NoError(t, client.Partition())
		go func() { got <- server.AwaitStuck(t.Context()) }()
		synctest.Wait()
		require.Empty(t, got, "what is lost may find room")
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-got, net.ErrClosed)
		require.ErrorIs(t, <-wrote, net.ErrClosed)
	})
}
