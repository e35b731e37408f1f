package simnet_test

import (
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// bothEnds returns both ends of a connection to a port of nw.
func bothEnds(t *testing.T, nw *simnet.Network) (client, server *simnet.Conn) {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c, err := nw.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	s, err := ln.Accept()
	require.NoError(t, err)
	return c.(*simnet.Conn), s.(*simnet.Conn)
}

// As package net has it: 0 is 15 s, less leaves what is there, and parts of a second are rounded
// up. The last probe of nine ends the connection.
func TestSetKeepAlivePeriod(t *testing.T) {
	for _, tt := range []struct {
		set  time.Duration
		idle time.Duration
	}{{0, 15 * time.Second}, {-1, 15 * time.Second}, {math.MinInt64, 15 * time.Second}, {1, time.Second}, {1500 * time.Millisecond, 2 * time.Second},
		{32767 * time.Second, 32767 * time.Second}} {
		t.Run(tt.set.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := bothEnds(t, simnet.New(t))
				defer s.Close()
				defer c.Close()
				require.NoError(t, s.SetKeepAlive(false)) // it would reset the connection at the same time
				require.NoError(t, c.SetKeepAlivePeriod(tt.set))
				begin := time.Now()
				require.NoError(t, s.Partition())
				_, err := c.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ETIMEDOUT)
				assert.Equal(t, tt.idle+9*15*time.Second, time.Since(begin))
			})
		})
	}
}

// What Linux does not take is EINVAL, and changes nothing.
func TestSetKeepAliveTooMuch(t *testing.T) {
	c, s := bothEnds(t, simnet.New(t))
	defer s.Close()
	defer c.Close()
	require.ErrorIs(t, c.SetKeepAlivePeriod(math.MaxInt64), syscall.EINVAL)
	for _, k := range []net.KeepAliveConfig{{Idle: 32767*time.Second + 1}, {Interval: math.MaxInt64}, {Count: 128}} {
		require.ErrorIs(t, c.SetKeepAliveConfig(k), syscall.EINVAL)
	}
}

// What is set while nothing is heard counts at once.
func TestSetKeepAlivePeriodInAPartition(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, _ := pair(t, nw)
		begin := time.Now()
		require.NoError(t, c.Partition())
		require.NoError(t, c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 2}))
		require.ErrorIs(t, readErr(c), syscall.ETIMEDOUT)
		assert.Equal(t, 3*time.Second, time.Since(begin))
	})
}

// A connection without keep-alive, which is given a period first and keep-alive then, has Linux's
// other settings.
func TestSetKeepAliveAfterItsPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		nc, err := nw.Connect(t.Context(), "tcp", ln.Addr().String(), network.ConnectOptions{})
		require.NoError(t, err)
		s, err := ln.Accept()
		require.NoError(t, err)
		defer s.Close()
		c := nc.(*simnet.Conn)
		defer c.Close()
		require.NoError(t, c.SetKeepAlivePeriod(10*time.Second))
		require.NoError(t, c.SetKeepAlive(true))
		require.NoError(t, s.(*simnet.Conn).SetKeepAlive(false))
		begin := time.Now()
		require.NoError(t, s.(*simnet.Conn).Partition())
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.Equal(t, 10*time.Second+9*75*time.Second, time.Since(begin))
	})
}

// An end that is closed, and whose other end never is, is gone after a minute: what comes then is
// answered with RST.
func TestOrphanEndsAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		c, s := bothEnds(t, nw)
		defer s.Close()
		require.NoError(t, c.Close())
		time.Sleep(time.Minute - 1)
		info, err := s.Info()
		require.NoError(t, err)
		require.NotNil(t, info.Other)
		assert.Equal(t, "FIN-WAIT-2", info.Other.State)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		info, err = s.Info()
		require.NoError(t, err)
		assert.Nil(t, info.Other)
		_, err = s.Write([]byte("x"))
		require.NoError(t, err)
		_, err = s.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
	})
}

// Half closed, it waits for as long as somebody has it open; the minute counts from the close, or
// from when FIN is acknowledged.
func TestOrphanCountsFromItsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		c, s := bothEnds(t, nw)
		defer s.Close()
		require.NoError(t, c.CloseWrite())
		time.Sleep(time.Hour)
		require.NoError(t, c.Close())
		time.Sleep(time.Minute - 1)
		info, err := s.Info()
		require.NoError(t, err)
		require.NotNil(t, info.Other, "the minute counts from Close")

		late, open := bothEnds(t, nw)
		defer open.Close()
		require.NoError(t, open.Partition())
		require.NoError(t, late.Close()) // its FIN is lost
		time.Sleep(10 * time.Second)
		require.NoError(t, open.Heal())
		require.NoError(t, open.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err = open.Read(make([]byte, 1))
		require.Error(t, err)
		time.Sleep(time.Minute - 1)
		info, err = open.Info()
		require.NoError(t, err)
		require.NotNil(t, info.Other, "and from the acknowledgement")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		info, err = open.Info()
		require.NoError(t, err)
		require.Nil(t, info.Other)
	})
}

// Ports come back: a client may dial for as long as it likes, though the server closes nothing.
func TestOrphansFreeTheirPorts(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: it takes more connections than there are ports")
	}
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		for range 30_000 {
			c, err := nw.Dial("tcp", ln.Addr().String())
			require.NoError(t, err)
			require.NoError(t, c.Close())
			_, err = ln.Accept()
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// A queue is full after as many datagrams as on Linux, which empty ones fill too.
func TestDatagramsFillTheQueue(t *testing.T) {
	t.Parallel()
	for size, most := range map[int]int{0: 256, 1: 256, 100: 256, 256: 166, 513: 166, 1472: 92, 2000: 48, 4096: 25, 8000: 12, 16000: 12,
		20000: 10, 32000: 6, 40000: 5, 60000: 3, 65507: 3} { // measured on Linux 6.18
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(t)
				server, err := nw.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
				require.NoError(t, err)
				defer server.Close()
				c, err := nw.Dial("udp", server.LocalAddr().String())
				require.NoError(t, err)
				defer c.Close()
				for range 2 { // when it was emptied there is as much room again
					for range most + 10 {
						_, err := c.Write(make([]byte, size))
						require.NoError(t, err)
					}
					got := 0
					for {
						require.NoError(t, server.SetReadDeadline(time.Now().Add(time.Millisecond)))
						if _, _, err := server.ReadFrom(make([]byte, 1)); err != nil {
							break
						}
						got++
					}
					require.Equal(t, most, got)
				}
			})
		})
	}
}

func TestNewNamesANilOption(t *testing.T) {
	t.Parallel()
	const want = "simnet.New: option 2 of 2 is nil; want one such as Seed(1), or none"
	tb := faketb.Run(t, func(tb *faketb.TB) { simnet.New(tb, simnet.Seed(1), nil) })
	assert.Contains(t, tb.Text(), want)
	assert.PanicsWithError(t, want, func() { simnet.New(nil, simnet.Seed(1), nil) })
	var none *testing.T
	assert.NotPanics(t, func() { simnet.New(none) }, "no test is no test, whatever its type")
}

// A probe that was lost is not asked for again before the next, so that a user timeout that ends
// then ends the connection, healed or not (tcp_keepalive_timer in Linux's tcp_timer.c).
func TestUserTimeoutAfterALostProbe(t *testing.T) {
	t.Parallel()
	for healed, want := range map[time.Duration]error{5 * time.Second: os.ErrDeadlineExceeded, 15 * time.Second: syscall.ETIMEDOUT} {
		bubble(t, func(t *testing.T, nw *simnet.Network) {
			c, _ := pair(t, nw)
			require.NoError(t, c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 10 * time.Second}))
			require.NoError(t, c.SetUserTimeout(20*time.Second))
			begin := time.Now()
			require.NoError(t, c.Partition())
			time.AfterFunc(healed, func() { _ = c.Heal() })
			require.NoError(t, c.SetReadDeadline(begin.Add(time.Hour)))
			require.ErrorIs(t, readErr(c), want)
			if want == syscall.ETIMEDOUT {
				require.Equal(t, 20*time.Second, time.Since(begin))
			}
		})
	}
}

func TestBandwidthOfZeroIsNoLimit(t *testing.T) {
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := bothEnds(t, nw)
		defer s.Close()
		defer c.Close()
		defer nw.Bandwidth(1)()
		undo := nw.Bandwidth(0)
		begin := time.Now()
		write(t, c, "hello")
		read(t, s, "hello")
		assert.Zero(t, time.Since(begin))
		undo()
		write(t, c, "hello")
		read(t, s, "hello")
		assert.Equal(t, 5*time.Second, time.Since(begin))
	})
}

// However small a latency or a bandwidth is, it counts, and of two bandwidths the smaller one.
func TestTheLeastFaultCounts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		c, s := between(t, a, b)
		hello := func() time.Duration {
			write(t, c, "hello")
			return took(func() { read(t, s, "hello") })
		}
		undo := nw.Latency(1)
		assert.Equal(t, time.Nanosecond, hello())
		undo()
		defer nw.Link(a, b).Bandwidth(5)()
		assert.Equal(t, time.Second, hello())
		defer nw.Bandwidth(1)()
		assert.Equal(t, 5*time.Second, hello())
	})
}

// With SetLinger, Close waits until all is acknowledged: a round trip.
func TestCloseLingersForARoundTrip(t *testing.T) {
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := bothEnds(t, nw)
		defer s.Close()
		nw.Latency(100 * time.Millisecond)
		require.NoError(t, c.SetLinger(10))
		write(t, c, "hello")
		begin := time.Now()
		require.NoError(t, c.Close())
		assert.GreaterOrEqual(t, time.Since(begin), 100*time.Millisecond)
		assert.Less(t, time.Since(begin), 10*time.Second)
		n, err := c.Arrived()
		assert.Zero(t, n)
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}

// Each write that blocks is told, also the second.
func TestWatchPeerTellsASecondBlock(t *testing.T) {
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := bothEnds(t, nw)
		defer s.Close()
		blocked := 0
		go func() { _ = s.WatchPeer(t.Context(), func() {}, func() { blocked++ }) }()
		go func() {
			for range 2 {
				_, _ = c.Write(make([]byte, 16<<20))
			}
			_ = c.Close()
		}()
		synctest.Wait()
		assert.Equal(t, 1, blocked)
		_, err := io.ReadFull(s, make([]byte, 16<<20))
		require.NoError(t, err)
		synctest.Wait()
		assert.Greater(t, blocked, 1)
		_, err = io.Copy(io.Discard, s)
		require.NoError(t, err)
	})
}
