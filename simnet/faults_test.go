package simnet_test

import (
	"bytes"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
)

// between returns the ends of a connection from one host to another, closed with the test.
func between(t *testing.T, a, b *simnet.Host) (client, server *simnet.Conn) {
	t.Helper()
	ln, err := b.Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	c, err := a.Dial("tcp", net.JoinHostPort(b.Name(), port))
	require.NoError(t, err)
	s, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*simnet.Conn), s.(*simnet.Conn)
}

// took is how long a call takes.
func took(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

func TestLatencyOfOneLink(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		app, db, cache := nw.Host("app"), nw.Host("db"), nw.Host("cache")
		undo := nw.Link(app, db).Latency(way)
		assert.Equal(t, 2*way, took(func() { between(t, app, db) })-way, "and the acknowledgement that accept waits for")
		assert.Zero(t, took(func() { between(t, app, cache) }))
		assert.Zero(t, took(func() { between(t, db, db) }))

		c, s := between(t, app, db)
		back := db.To(app).Latency(3 * way)
		write(t, c, "ping")
		assert.Equal(t, way, took(func() { read(t, s, "ping") }))
		write(t, s, "pong")
		assert.Equal(t, 3*way, took(func() { read(t, c, "pong") }))
		on := nw.Latency(time.Second)
		write(t, c, "ping")
		assert.Equal(t, time.Second+way, took(func() { read(t, s, "ping") }), "what the whole network has comes on top")
		undo() // not the last that was set
		undo()
		on()
		write(t, s, "pong")
		assert.Equal(t, 3*way, took(func() { read(t, c, "pong") }))
		back()
		write(t, s, "pong")
		assert.Zero(t, took(func() { read(t, c, "pong") }))
	})
}

// Of two settings the later one counts, in whatever order they are undone.
func TestFaultsAreUndoneInAnyOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		trip := func() time.Duration {
			write(t, c, "x")
			return took(func() { read(t, s, "x") })
		}
		one, two := nw.Latency(1*time.Second), nw.Latency(2*time.Second)
		assert.Equal(t, 2*time.Second, trip())
		one()
		assert.Equal(t, 2*time.Second, trip())
		two()
		assert.Zero(t, trip())
	})
}

func TestBandwidthIsShared(t *testing.T) {
	t.Parallel()
	const size, rate = 100_000, 50_000
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		c1, s1 := between(t, a, b)
		c2, s2 := between(t, a, b)
		link := nw.Link(a, b)
		defer link.Latency(way)()
		defer link.Bandwidth(rate)()
		begin := time.Now()
		for _, c := range []*simnet.Conn{c1, c2} {
			_, err := c.Write(make([]byte, size))
			require.NoError(t, err)
		}
		_, err := io.ReadFull(s1, make([]byte, rate/2))
		require.NoError(t, err)
		assert.InDelta(t, 0.5+way.Seconds(), time.Since(begin).Seconds(), 0.03, "it comes segment by segment")
		_, err = io.ReadFull(s1, make([]byte, size-rate/2))
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second+way, time.Since(begin).Round(time.Microsecond))
		_, err = io.ReadFull(s2, make([]byte, size))
		require.NoError(t, err)
		assert.Equal(t, 4*time.Second+way, time.Since(begin).Round(time.Microsecond))
		write(t, s1, "the other way is free")
		assert.Less(t, took(func() { read(t, c1, "the other way is free") }), way+time.Millisecond)
	})
}

// arrivals are when each of n datagrams arrives, which are sent 1 ms apart, by what they carry; and
// in which order.
func arrivals(t *testing.T, nw *simnet.Network, n int) (at map[byte]time.Duration, order []byte) {
	t.Helper()
	server, err := nw.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	c, err := nw.Dial("udp", server.LocalAddr().String())
	require.NoError(t, err)
	defer c.Close()
	begin := time.Now()
	go func() {
		for i := range n {
			_, _ = c.Write([]byte{byte(i)})
			time.Sleep(time.Millisecond)
		}
	}()
	at = map[byte]time.Duration{}
	require.NoError(t, server.SetReadDeadline(begin.Add(time.Minute)))
	for b := make([]byte, 1); ; {
		if _, _, err := server.ReadFrom(b); err != nil {
			return at, order
		}
		at[b[0]] = time.Since(begin) - time.Duration(b[0])*time.Millisecond
		order = append(order, b[0])
	}
}

func TestJitterOvertakes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		defer nw.Latency(way)()
		defer nw.Jitter(way / 2)()
		at, order := arrivals(t, nw, 200)
		require.Len(t, at, 200)
		for _, d := range at {
			assert.GreaterOrEqual(t, d, way)
			assert.Less(t, d, way*3/2)
		}
		assert.False(t, slices.IsSorted(order))
	})
}

// On a connection nothing overtakes: what is faster than what was sent before it arrives with that.
func TestJitterKeepsAStreamInOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		defer nw.Latency(way)()
		defer nw.Jitter(way / 2)()
		const n = 200
		begin := time.Now()
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for i := range byte(n) {
				_, _ = c.Write([]byte{i})
				time.Sleep(time.Millisecond)
			}
		})
		together, last := 0, time.Duration(-1)
		for i := range byte(n) {
			read(t, s, string([]byte{i}))
			at := time.Since(begin)
			sent := time.Duration(i) * time.Millisecond
			assert.GreaterOrEqual(t, at, sent+way)
			assert.Less(t, at, sent+way*3/2)
			if at == last {
				together++
			}
			last = at
		}
		assert.Greater(t, together, n/2, "most of what is 1 ms apart waits for something slower")
	})
}

func TestReorderLetsTheNextPass(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		undo := nw.Reorder(1)
		at, order := arrivals(t, nw, 5)
		assert.Equal(t, []byte{1, 0, 3, 2, 4}, order)
		assert.Equal(t, 10*time.Millisecond, at[4], "nothing came that could overtake it")
		undo()
		_, order = arrivals(t, nw, 5)
		assert.Equal(t, []byte{0, 1, 2, 3, 4}, order)
		defer nw.Reorder(0.2)()
		at, order = arrivals(t, nw, 200)
		assert.Len(t, at, 200)
		assert.False(t, slices.IsSorted(order))
	})
}

// Each kind of fault has its own draws: with another one beside it, what is left is what it was.
func TestDrawsAreByKindAndSeed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, faults ...func(nw *simnet.Network) func()) (at map[byte]time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			nw := simnet.New(t, simnet.Seed(seed))
			for _, f := range faults {
				defer f(nw)()
			}
			at, _ = arrivals(t, nw, 200)
		})
		return at
	}
	jitter := func(nw *simnet.Network) func() { return nw.Jitter(way) }
	loss := func(nw *simnet.Network) func() { return nw.Loss(0.3) }
	elsewhere := func(nw *simnet.Network) func() { return nw.Link(nw.Host("a"), nw.Host("b")).Loss(1) }
	alone := run(7, jitter)
	assert.Equal(t, alone, run(7, jitter))
	assert.Equal(t, alone, run(7, elsewhere, jitter))
	assert.NotEqual(t, alone, run(8, jitter))
	lost := run(7, jitter, loss)
	assert.Greater(t, len(lost), 100)
	assert.Less(t, len(lost), 180)
	for i, d := range lost {
		assert.Equal(t, alone[i], d)
	}
	late := 0
	for _, d := range lost {
		if d > way*8/10 {
			late++
		}
	}
	assert.Positive(t, late, "one draw does not decide both: what is lost is not what is late")
	keys := func(m map[byte]time.Duration) []byte { return slices.Sorted(maps.Keys(m)) }
	assert.Equal(t, keys(lost), keys(run(7, loss)))
}

// One segment that is lost is sent again: after 200 ms, or, where the gap shows, after a round
// trip.
func TestLossDelays(t *testing.T) {
	t.Parallel()
	kinds := map[time.Duration]int{}
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			nw := simnet.New(t, simnet.Seed(seed))
			c, s := pair(t, nw)
			defer nw.Latency(time.Second)()
			defer nw.Loss(0.01)()
			_, err := c.Write(make([]byte, 20*1448))
			require.NoError(t, err)
			kinds[took(func() { _, err = io.ReadFull(s, make([]byte, 20*1448)) })]++
			require.NoError(t, err)
		})
	}
	assert.Greater(t, kinds[time.Second], 100, "nothing was lost")
	assert.Positive(t, kinds[3*time.Second], "lost, asked for, sent again")
	assert.Positive(t, kinds[3200*time.Millisecond], "one of the last three was lost")
	assert.Greater(t, kinds[time.Second]+kinds[3*time.Second]+kinds[3200*time.Millisecond], 190, "%v", kinds)
}

// Loss of all that is sent ends as the kernel's patience does.
func TestLossOfEverything(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		for _, latency := range []time.Duration{0, way} {
			undo := nw.Latency(latency)
			c, s := pair(t, nw)
			require.NoError(t, c.SetKeepAlive(false))
			require.NoError(t, s.SetKeepAlive(false))
			find := nw.Loss(1)
			begin := time.Now()
			write(t, c, "x")
			require.ErrorIs(t, readErr(c), syscall.ETIMEDOUT)
			least, most := 924600*time.Millisecond, 924600*time.Millisecond+5000*latency
			assert.GreaterOrEqual(t, time.Since(begin), least)
			assert.LessOrEqual(t, time.Since(begin), most)
			begin = time.Now()
			_, err := nw.Dial("tcp", c.RemoteAddr().String())
			require.ErrorIs(t, err, syscall.ETIMEDOUT)
			assert.Equal(t, 131*time.Second, time.Since(begin))
			find()
			undo()
		}
	})
}

// Whatever is lost, no byte is missing, and everything ends.
func TestLossLosesNothingForGood(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			nw := simnet.New(t, simnet.Seed(seed))
			defer nw.Latency(time.Duration(seed%3) * way)()
			if seed%2 == 0 {
				defer nw.Bandwidth(1 << 20)()
			}
			if seed%5 == 0 {
				defer nw.Jitter(way)()
			}
			defer nw.Loss(0.2)()
			c, s := pair(t, nw)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := c.Write(sent)
				assert.NoError(t, err)
				assert.NoError(t, c.CloseWrite())
				back, err := io.ReadAll(c)
				assert.NoError(t, err)
				assert.Equal(t, "thanks", string(back))
				assert.NoError(t, c.Close())
			})
			got, err := io.ReadAll(s)
			require.NoError(t, err)
			require.True(t, bytes.Equal(sent, got))
			write(t, s, "thanks")
			require.NoError(t, s.Close())
			wg.Wait()
			time.Sleep(time.Hour)
			synctest.Wait()
			assert.Empty(t, nw.Sockets())
		})
	}
}

// Cut in one direction: what is sent the other way arrives, and nobody hears that it has.
func TestPartitionOfOneDirection(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		c, s := between(t, a, b)
		beside, other := between(t, b, nw.Host("c"))
		require.NoError(t, c.SetUserTimeout(5*time.Second))
		heal := b.To(a).Partition()
		write(t, beside, "ping")
		read(t, other, "ping")
		write(t, c, "ping")
		assert.Zero(t, took(func() { read(t, s, "ping") }))
		begin := time.Now()
		require.ErrorIs(t, readErr(c), syscall.ETIMEDOUT)
		assert.Equal(t, 5*time.Second, time.Since(begin))
		_, err := a.Dial("tcp", "b:1")
		require.ErrorIs(t, err, syscall.ETIMEDOUT, "its RST is lost")
		heal()
		_, err = a.Dial("tcp", "b:1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

func TestHoldOfOneLink(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		c, s := between(t, a, b)
		c2, s2 := between(t, a, a)
		link := nw.Link(a, b)
		first, second := link.Hold(), nw.Hold()
		write(t, c, "x")
		write(t, c2, "y")
		time.AfterFunc(time.Second, second)
		time.AfterFunc(time.Minute, first)
		assert.Equal(t, time.Second, took(func() { read(t, s2, "y") }))
		assert.Equal(t, 59*time.Second, took(func() { read(t, s, "x") }))
	})
}

// Networks of one bubble that have something due at one instant do not disturb each other. With
// -race, timers would end the process (go.dev/issue/78156).
func TestDueAtOnceOnManyNetworks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const datagrams = 200
		begin := time.Now()
		var heals []func()
		var servers []net.PacketConn
		for range 4 {
			nw := simnet.New(t)
			s, err := nw.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
			require.NoError(t, err)
			defer s.Close()
			c, err := nw.Dial("udp", s.LocalAddr().String())
			require.NoError(t, err)
			defer c.Close()
			servers, heals = append(servers, s), append(heals, nw.Hold())
			for range datagrams {
				write(t, c, "x")
			}
		}
		var healed sync.WaitGroup
		for _, heal := range heals {
			healed.Go(heal)
		}
		healed.Wait()
		for _, s := range servers {
			for range datagrams {
				_, _, err := s.ReadFrom(make([]byte, 1))
				require.NoError(t, err)
			}
		}
		assert.Zero(t, time.Since(begin))
	})
}

func TestFailureTellsTheSeed(t *testing.T) {
	t.Parallel()
	text := func(f func(nw *simnet.Network)) string {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			f(simnet.New(tb, simnet.Seed(17)))
			tb.Errorf("it went wrong")
		})
		return tb.Logs()
	}
	assert.Empty(t, text(func(*simnet.Network) {}), "chance had no part in it, and no socket is open")
	drew := text(func(nw *simnet.Network) {
		defer nw.Loss(0.5)()
		c, err := nw.Dial("udp", "127.0.0.1:9")
		require.NoError(t, err)
		write(t, c, "x")
	})
	assert.Contains(t, drew, "simnet.Seed(17) or SOCKETTEST_SEED=17")
	open := text(func(nw *simnet.Network) {
		_, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:9")
		require.NoError(t, err)
	})
	assert.Contains(t, open, "simnet: sockets at the end:\n")
	assert.Contains(t, open, "127.0.0.1:9")
	many := text(func(nw *simnet.Network) {
		for range 103 {
			_, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
		}
	})
	assert.Equal(t, 101, strings.Count(many, "\n"), "100 sockets, and how many more")
	assert.Contains(t, many, "and 3 more")
}

func TestSeedOfARun(t *testing.T) {
	t.Setenv("SOCKETTEST_SEED", "soon")
	tb := faketb.Run(t, func(tb *faketb.TB) { simnet.New(tb) })
	assert.True(t, tb.Died())
	assert.Contains(t, tb.Text(), `SOCKETTEST_SEED is "soon"; want a number`)
}
