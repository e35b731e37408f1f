package sockettest_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// pingOn is a client under test: it connects, and reads one byte.
func pingOn(ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		c, err := ep.DialContext(ctx, "", "")
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}
}

func TestExpectIsExactInABubble(t *testing.T) {
	t.Parallel()
	const limit = 30 * time.Second
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    sockettest.Want
	}{
		{"no answer", fixtures.BlackHole{}, sockettest.TimedOut.At(limit).In("connect")},
		{"no data", fixtures.Silent{}, sockettest.TimedOut.At(limit).In("read")},
		{"nobody listens", fixtures.Refused{}, sockettest.Rejected.At(0)},
		{"an answer in time", fixtures.SlowAccept{Delay: limit - 1}, sockettest.Accepted.At(limit - 1)},
		{"reset", fixtures.Reset{}, sockettest.ResetByPeer.At(0)},
		{"slack is 0", fixtures.Silent{}, sockettest.TimedOut.After(limit)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				ep := sockettest.Start(t, tt.fixture, sockettest.On(simnet.New(t)))
				sockettest.Expect(t, ep, tt.want, pingOn(ep, limit))
			})
		})
	}
}

func TestExpectFailsInABubbleByANanosecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(simnet.New(t)))
		for want, headline := range map[sockettest.Want]string{
			sockettest.TimedOut.At(30*time.Second - 1):     "connect: timed out 1ns too late",
			sockettest.TimedOut.At(30*time.Second + 1):     "connect: timed out 1ns too early",
			sockettest.TimedOut.Before(30*time.Second - 1): "connect: timed out 1ns too late",
		} {
			tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, ep, want, pingOn(ep, 30*time.Second)) })
			assert.True(t, tb.Failed())
			assert.Contains(t, tb.Text(), headline)
			assert.Contains(t, tb.Text(), want.String())
		}
	})
}

func TestAtIsABadArgumentInRealTime(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(simnet.New(t)))
	tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, ep, sockettest.Rejected.At(0), pingOn(ep, time.Hour)) })
	assert.True(t, tb.Failed())
	assert.Contains(t, tb.Text(), "At(0s): real time is never exact; want After(0s), or a testing/synctest bubble")
}

func TestBlockedInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		nw := simnet.New(t)
		ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))
		sockettest.Expect(t, ep, sockettest.Blocked.For(24*time.Hour), func() error {
			c, err := nw.Dial("tcp", ep.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Read(make([]byte, 1))
			return err
		})
	})
}

func TestBackoffUntilTheServerIsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		nw := simnet.New(t)
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(nw))
		time.AfterFunc(40*time.Second, func() { assert.NoError(t, ep.Become(fixtures.Echo{})) })
		sockettest.Expect(t, ep, sockettest.Accepted.At(63*time.Second), func(ctx context.Context) error {
			for pause := time.Second; ; pause *= 2 {
				if err := pingOn(ep, time.Hour)(ctx); err == nil {
					return nil
				}
				time.Sleep(pause)
			}
		})
	})
}

// A fixture on one machine, its client on another, and a link that goes bad.
func TestFixtureOnAHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		nw := simnet.New(t)
		app, db := nw.Host("app"), nw.Host("db")
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(db), sockettest.Address("db:5432"))
		defer nw.Link(app, db).Latency(time.Second)()
		op := func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			c, err := app.DialContext(ctx, "tcp", "db:5432")
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err = c.Write([]byte("x")); err != nil {
				return err
			}
			_, err = c.Read(make([]byte, 1))
			return err
		}
		sockettest.Expect(t, ep, sockettest.Accepted.At(4*time.Second), op)
		defer db.To(app).Partition()()
		sockettest.Expect(t, ep, sockettest.TimedOut.At(30*time.Second).In("connect"), op)
	})
}

// The same two addresses on another machine's loopback are somebody else's: whoever has closed is
// not blamed for them, though its FIN is still on its way.
func TestNoLeaksKnowsWhoseLoopbackItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		b := nw.Host("b")
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.NoLeaks(tb)
			ep := sockettest.Start(tb, fixtures.Echo{}, sockettest.On(nw))
			ln, err := b.Listen(t.Context(), "tcp", ep.Addr())
			require.NoError(t, err)
			t.Cleanup(func() { _ = ln.Close() })
			left, err := b.Dial("tcp", ep.Addr())
			require.NoError(t, err)
			t.Cleanup(func() { _ = left.Close() })
			c, err := nw.Dial("tcp", ep.Addr())
			require.NoError(t, err)
			require.Equal(t, left.LocalAddr(), c.LocalAddr())
			require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
			t.Cleanup(nw.Hold())
			require.NoError(t, c.Close())
		})
		assert.False(t, tb.Failed(), tb.Text())
	})
}

func TestNoLeaksFindsConnectionsOnSimnet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		var left net.Conn
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.NoLeaks(tb)
			ep := sockettest.Start(tb, fixtures.Echo{}, sockettest.On(nw))
			var err error
			left, err = nw.Dial("tcp", ep.Addr())
			require.NoError(t, err)
			require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
		})
		require.True(t, tb.Failed())
		assert.Contains(t, tb.Text(), "leak: 1 connection left behind")
		require.NoError(t, left.Close())
	})
}

// A network that is made outside a bubble is of use inside, and outside again.
func TestNetworkMadeOutsideABubble(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			sockettest.NoLeaks(t)
			ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
			sockettest.Expect(t, ep, sockettest.TimedOut.At(time.Minute), pingOn(ep, time.Minute))
		})
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Minute), pingOn(ep, time.Hour))
		require.NoError(t, ep.Close())
	}
}
