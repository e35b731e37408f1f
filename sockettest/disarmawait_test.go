package sockettest_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

type awaiter interface {
	Await(ctx context.Context, k fixtures.EventKind, n int) error
}

// TestDisarmedAwaitOfWhatOnlyAFaultBrings: nobody waits for it, so that the want behind is judged.
func TestDisarmedAwaitOfWhatOnlyAFaultBrings(t *testing.T) {
	if !disarmed(t) {
		return
	}
	ep, left := sockettest.Start(t, fixtures.NeverRead{}), sockettest.Start(t, own{})
	defer left.Partition()()
	for _, k := range []fixtures.EventKind{fixtures.SYN, fixtures.Cut, fixtures.Healed, fixtures.Held, fixtures.Released} {
		require.NoError(t, ep.Await(t.Context(), k, 2), k)
	}
	require.NoError(t, left.Await(t.Context(), fixtures.Cut, 1), "a test's own fault, which nothing brings here")
}

// TestDisarmedAwaitEndsTheTest: an event that the fault may bring is waited for, and not forever.
func TestDisarmedAwaitEndsTheTest(t *testing.T) {
	if !disarmed(t) {
		return
	}
	for name, start := range map[string]func(tb *faketb.TB, nw network.Stack) awaiter{
		"address": func(tb *faketb.TB, nw network.Stack) awaiter {
			return sockettest.Start(tb, fixtures.Reset{}, sockettest.On(nw))
		},
		"datagrams": func(tb *faketb.TB, nw network.Stack) awaiter {
			return sockettest.Start(tb, udp.Drop{}, sockettest.On(nw))
		},
		"name server": func(tb *faketb.TB, nw network.Stack) awaiter {
			return sockettest.Start(tb, dnsfault.Drop{}, sockettest.On(nw))
		},
		"attack": func(tb *faketb.TB, nw network.Stack) awaiter {
			server := sockettest.Start(tb, fixtures.Echo{}, sockettest.On(nw))
			return sockettest.Start(tb, hostile.ConnectOnly{Target: server.Addr()}, sockettest.On(nw))
		},
	} {
		t.Run(name, func(t *testing.T) {
			sockettest.Bubble(t, func(t *testing.T) {
				for k, patience := range map[fixtures.EventKind]time.Duration{fixtures.Failed: disarm.Patience, fixtures.PeerBlocked: 0} {
					if name == "datagrams" || name == "name server" {
						patience = disarm.Patience // where nobody is blocked
					}
					begin, after := time.Now(), false
					tb := faketb.Run(t, func(tb *faketb.TB) {
						_ = start(tb, simnet.New(t)).Await(tb.Context(), k, 1)
						after = true
					})
					assert.Contains(t, tb.Reason(), "awaiting 1 x "+string(k)+", saw 0: disarmed: without the fault it does not come")
					assert.Empty(t, tb.Text())
					assert.False(t, after)
					assert.Equal(t, patience, time.Since(begin))
				}
			})
		})
	}
}

// TestDisarmedAwaitOutsideATest: where there is no test to end, it returns the error.
func TestDisarmedAwaitOutsideATest(t *testing.T) {
	if !disarmed(t) {
		return
	}
	sockettest.Bubble(t, func(t *testing.T) {
		ep, err := fixtures.Start(t.Context(), fixtures.Reset{}, fixtures.Place{Stack: simnet.New(t)})
		require.NoError(t, err)
		defer ep.Close()
		require.ErrorContains(t, ep.Await(t.Context(), fixtures.PeerRST, 1), "awaiting 1 x RST, saw 0: disarmed")
	})
}

// TestDisarmedAwaitOfAccept: calls that would have failed are not waited for, the others are.
func TestDisarmedAwaitOfAccept(t *testing.T) {
	if !disarmed(t) {
		return
	}
	for _, tt := range []struct {
		fixture fixtures.AcceptError
		await   int // calls
		made    int // of which so many are made
	}{
		{fixtures.AcceptError{}, 2, 1}, {fixtures.AcceptError{Times: 3}, 4, 1}, {fixtures.AcceptError{Times: 3}, 1, 1},
		{fixtures.AcceptError{Times: 3}, 5, 2}, {fixtures.AcceptError{EachNth: 2}, 5, 3}, {fixtures.AcceptError{EachNth: 1}, 5, 1},
		{fixtures.AcceptError{EachNth: 2, Times: 1}, 5, 4},
	} {
		sockettest.Bubble(t, func(t *testing.T) {
			nw := simnet.New(t)
			ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l := tt.fixture.Listen(ln)
			defer l.Close()
			require.NoError(t, l.Await(t.Context(), fixtures.Failed, 1))
			for made := range tt.made {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				require.Error(t, l.Await(ctx, fixtures.Accepting, tt.await), "%v after %d calls", l, made)
				cancel()
				c, err := nw.DialContext(t.Context(), "tcp", ln.Addr().String())
				require.NoError(t, err)
				got, err := l.Accept()
				require.NoError(t, err)
				_, _ = c.Close(), got.Close()
			}
			require.NoError(t, l.Await(t.Context(), fixtures.Accepting, tt.await), "%v", l)
		})
	}
}

// TestDisarmedDiscard: a read that times out on it rests on its silence, as on that of a Silent.
func TestDisarmedDiscard(t *testing.T) {
	if !disarmed(t) {
		return
	}
	for _, f := range []fixtures.Fixture{fixtures.Silent{}, fixtures.Discard{}} {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, f)
			sockettest.Expect(tb, ep, sockettest.TimedOut.After(ample), func() error {
				c, err := net.Dial("tcp", ep.Addr())
				if err != nil {
					return err
				}
				defer c.Close()
				_ = c.SetReadDeadline(time.Now().Add(ample))
				_, _ = io.WriteString(c, "x")
				_, err = c.Read(make([]byte, 1))
				return err
			})
		})
		assert.Empty(t, tb.Text())
		assert.Contains(t, tb.Reason(), "without the fault it is not timed out", "%v", f)
	}
}

// TestDisarmedFailover: an answer from the first address is none from the second, on which what
// follows rests.
func TestDisarmedFailover(t *testing.T) {
	if !disarmed(t) {
		return
	}
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			first := sockettest.Start(tb, fixtures.Reset{}, sockettest.On(nw))
			second := sockettest.Start(tb, fixtures.Echo{}, sockettest.On(nw))
			ask := func(ctx context.Context) error {
				c, err := nw.DialContext(ctx, "tcp", first.Addr())
				if err != nil {
					return err
				}
				defer c.Close()
				return exchange(c)
			}
			sockettest.Expect(tb, first, fine, ask)
			assert.False(t, tb.Skipped(), "a success may be met")
			sockettest.Expect(tb, second, fine, ask)
		})
		assert.Empty(t, tb.Text())
		assert.Contains(t, tb.Reason(), "disarmed: without the fault it is not accepted")
	})
}

func TestDisarmedTry(t *testing.T) {
	if !disarmed(t) {
		return
	}
	require.NoError(t, sockettest.Try(func(t testing.TB) { sockettest.Armed(t, "a reason") }))
	require.ErrorContains(t, sockettest.Try(func(t testing.TB) { t.Errorf("fails") }), "fails")
}

// TestBubbleSkips: a test that ends in a bubble has ended, and what follows Bubble does not run.
func TestBubbleSkips(t *testing.T) {
	t.Parallel()
	skip := func(t *testing.T) { t.Skip("on purpose") }
	for name, run := range map[string]func(t *testing.T){
		"bubble":       func(t *testing.T) { sockettest.Bubble(t, skip) },
		"each network": func(t *testing.T) { sockettest.EachNetwork(t, func(t *testing.T, _ network.Stack) { skip(t) }) },
	} {
		var skipped, after bool
		t.Run(name, func(t *testing.T) {
			defer func() { skipped = t.Skipped() }()
			run(t)
			after = true
		})
		assert.True(t, skipped, name)
		assert.False(t, after, name)
	}
	t.Run("one of two networks", func(t *testing.T) {
		after := false
		defer func() { assert.True(t, after) }()
		sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
			if nw == sockettest.Kernel {
				skip(t)
			}
		})
		after = true
	})
}
