package simnet_test

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// way is how long each segment takes in these tests.
const way = 50 * time.Millisecond

// far is pair on a network with latency, the time at which it began, and how long that was.
func far(t *testing.T, nw *simnet.Network) (client, server *simnet.Conn, begin time.Time) {
	t.Helper()
	undo := nw.Latency(way)
	t.Cleanup(undo)
	begin = time.Now()
	client, server = pair(t, nw)
	return client, server, begin
}

func TestLatencyOfAConnect(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer nw.Latency(way)()
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			s, err := ln.Accept()
			assert.NoError(t, err)
			assert.Equal(t, 3*way, time.Since(begin), "SYN, SYN-ACK, ACK")
			assert.NoError(t, s.Close())
		})
		c, err := nw.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		assert.Equal(t, 2*way, time.Since(begin))
		wg.Wait()
		require.Equal(t, io.EOF, readErr(c))
		assert.Equal(t, 4*way, time.Since(begin))
		require.NoError(t, c.Close())
		require.NoError(t, ln.Close())

		begin = time.Now()
		_, err = nw.Dial("tcp", ln.Addr().String())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 2*way, time.Since(begin))
	})
}

func TestLatencyOfDataAndItsEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s, begin := far(t, nw)
		assert.Equal(t, 3*way, time.Since(begin))
		begin = time.Now()
		write(t, c, "ping")
		assert.Zero(t, time.Since(begin), "a write does not wait")
		read(t, s, "ping")
		assert.Equal(t, way, time.Since(begin))
		write(t, s, "pong")
		require.NoError(t, s.CloseWrite())
		read(t, c, "pong")
		require.Equal(t, io.EOF, readErr(c))
		assert.Equal(t, 2*way, time.Since(begin))
		write(t, c, "data comes before RST")
		require.NoError(t, c.Reset())
		read(t, s, "data comes before RST")
		require.ErrorIs(t, readErr(s), syscall.ECONNRESET)
		assert.Equal(t, 3*way, time.Since(begin))
		assert.Empty(t, nw.Sockets()[1:], "but the end that is not closed")
	})
}

// What meets a closed socket comes back as RST, a round trip later.
func TestLatencyOfRST(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s, _ := far(t, nw)
		require.NoError(t, s.Close())
		require.Equal(t, io.EOF, readErr(c))
		begin := time.Now()
		write(t, c, "x")
		write(t, c, "y")
		time.Sleep(2 * way)
		synctest.Wait() // what happens at the same instant, too
		require.ErrorIs(t, writeErr(c), syscall.EPIPE)
		assert.Equal(t, 2*way, time.Since(begin))
	})
}

// All bytes arrive, in order, through windows that close and open, whatever the network does
// meanwhile.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(nw *simnet.Network, c, s *simnet.Conn) func(){
		"latency":       func(nw *simnet.Network, _, _ *simnet.Conn) func() { return nw.Latency(way) },
		"hold":          func(nw *simnet.Network, _, _ *simnet.Conn) func() { return nw.Hold() },
		"partition":     func(nw *simnet.Network, _, _ *simnet.Conn) func() { return nw.Partition() },
		"of the reader": func(_ *simnet.Network, _, s *simnet.Conn) func() { _ = s.Partition(); return func() { _ = s.Heal() } },
		"of the writer": func(_ *simnet.Network, c, _ *simnet.Conn) func() { _ = c.Partition(); return func() { _ = c.Heal() } },
	} {
		for _, base := range []time.Duration{0, way} {
			t.Run(name+" on "+base.String(), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, nw *simnet.Network) {
					c, s := pair(t, nw)
					require.NoError(t, c.SetKeepAlive(false))
					require.NoError(t, s.SetKeepAlive(false))
					require.NoError(t, s.SetReadBuffer(2000))
					defer nw.Latency(base)()
					passesAll(t, c, s, func() func() { return trouble(nw, c, s) })
				})
			})
		}
	}
}

// passesAll sends numbers, while trouble comes and goes.
func passesAll(t *testing.T, c, s *simnet.Conn, trouble func() (undo func())) {
	t.Helper()
	const size = 1 << 20
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i / 7)
		}
		for len(b) > 0 {
			k := min(len(b), 50_000)
			_, err := c.Write(b[:k])
			assert.NoError(t, err)
			b = b[k:]
			time.Sleep(time.Millisecond)
		}
		assert.NoError(t, c.CloseWrite())
	})
	wg.Go(func() {
		for range 5 {
			undo := trouble()
			time.Sleep(330 * time.Millisecond)
			undo()
			time.Sleep(770 * time.Millisecond)
		}
	})
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Len(t, got, size)
	for i := range got {
		if got[i] != byte(i/7) {
			require.Fail(t, "not what was sent", "byte %d is %d", i, got[i])
		}
	}
	wg.Wait()
}

func TestHoldKeepsSYNsAndDataInTheAir(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		release := nw.Hold()
		begin := time.Now()
		time.AfterFunc(time.Minute, release)
		write(t, c, "ping")
		require.NoError(t, c.Reset())
		late, err := nw.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(begin))
		require.NoError(t, late.Close())
		read(t, s, "ping")
		require.ErrorIs(t, readErr(s), syscall.ECONNRESET)
		assert.Equal(t, time.Minute, time.Since(begin))
	})
}

func TestPartitionOfTheNetwork(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		p := bound(t, nw, network.State{Answer: network.Listen})
		heal := nw.Partition()
		time.AfterFunc(10*time.Second, heal)
		begin := time.Now()
		write(t, c, "ping")
		require.NoError(t, c.Close()) // its FIN is lost as well
		late, err := nw.Dial("tcp", p.Addr().String())
		require.NoError(t, err)
		assert.Equal(t, 11*time.Second, time.Since(begin))
		require.NoError(t, late.Close())
		read(t, s, "ping")
		require.Equal(t, io.EOF, readErr(s))
		assert.Equal(t, 12600*time.Millisecond, time.Since(begin))
		dropped, _, err := p.Dropped()
		require.NoError(t, err)
		assert.Zero(t, dropped, "the port has not seen them")
	})
}

// An answer that is lost is asked for again.
func TestPartitionLosesTheAnswerToASYN(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		defer nw.Latency(way)()
		begin := time.Now()
		time.AfterFunc(way+1, func() { time.AfterFunc(way, nw.Partition()) })
		c, err := nw.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		assert.Equal(t, time.Second+2*way, time.Since(begin))
		s, err := ln.Accept()
		require.NoError(t, err)
		write(t, s, "hello")
		read(t, c, "hello")
		require.NoError(t, c.Close())
		require.NoError(t, s.Close())
		time.Sleep(way)
		synctest.Wait()
		assert.Len(t, nw.Sockets(), 1, "the listener")
	})
}

// A dial that gives up before it is answered leaves nothing behind.
func TestDialThatGivesUpUnderLatency(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		defer nw.Latency(way)()
		ctx, cancel := context.WithTimeout(t.Context(), way+1)
		defer cancel()
		_, err = nw.DialContext(ctx, "tcp", ln.Addr().String())
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		assert.True(t, ne.Timeout())
		time.Sleep(forever)
		assert.Len(t, nw.Sockets(), 1, "the listener")
	})
}
