package sockettest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// failover asks one server after the other, and gives each a second.
func failover(servers ...*fixtures.Endpoint) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		for _, ep := range servers {
			short, cancel := context.WithTimeout(ctx, s)
			var one error
			if c, dialErr := ep.DialContext(short, "", ""); dialErr == nil {
				one = errors.Join(read(c, true)(short), c.Close())
			} else {
				one = dialErr
			}
			cancel()
			if err = errors.Join(err, one); one == nil {
				return nil
			}
		}
		return err
	}
}

// A client that fails over reaches one after the other; the report has all of them in one timeline.
func TestTogetherReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			nw := simnet.New(tb)
			a := sockettest.Start(tb, fixtures.BlackHole{}, sockettest.On(nw))
			b := sockettest.Start(tb, fixtures.Refused{}, sockettest.On(nw))
			time.Sleep(s)
			c := sockettest.Start(tb, fixtures.Silent{}, sockettest.On(nw))
			sockettest.Expect(tb, sockettest.Together(tb, a, b, c), sockettest.Accepted, failover(a, b, c))
		})
		assert.Contains(t, tb.Text(), `
  attempts 2, at 1s, 1s (fake clock); 2 SYNs without an answer, those that the kernel sent again among them`)
		assert.Contains(t, tb.Text(), `
  fixture  ep1 BlackHole{} on 127.0.0.1:32768, ep2 Refused{} on 127.0.0.1:32769, ep3 Silent{} on 127.0.0.1:32770
    -1000.0ms  bound     ep1 SYNs are dropped
    -1000.0ms  bound     ep2 not listening; the port stays ours
       +0.0ms  bound     ep3 listening
       +0.0ms  --        the call under test starts --
    +1000.0ms  SYN       ep1 2 dropped so far, retransmissions included
    +1000.0ms  refused   ep2 a connect, with RST
    +1000.0ms  accepted  ep3 #1 from the client at 127.0.0.1:`)
		assert.Contains(t, tb.Text(), "FIN       ep3 #1 from the client\n")
	})
}

func TestTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		down := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
		time.Sleep(s)
		up := sockettest.Start(t, fixtures.HalfClose{Data: "x"}, sockettest.On(nw))
		both := sockettest.Together(t, down, up)
		sockettest.Expect(t, both, sockettest.Accepted.At(s).Retrying(sockettest.Backoff{Attempts: 2, First: s}), failover(down, up))
		sockettest.Expect(t, both, sockettest.Blocked.For(s/2).LetGo(sockettest.ByContext), failover(down, up))
		sockettest.Expect(t, both, sockettest.ErrorIs(context.Canceled).Unreached(), func() error { return context.Canceled })
		assert.Equal(t, down.Started(), both.Started())
		assert.Len(t, both.Events(), len(down.Events())+len(up.Events()))
		assert.Empty(t, both.Rule())
		require.NoError(t, both.Close())
		assert.Error(t, up.Become(fixtures.Echo{}), "it is closed")
	})
}

// On the kernel as well; the client reaches none of two, or but one whose fault never comes.
func TestTogetherNeedsContactAndFaults(t *testing.T) {
	t.Parallel()
	for want, op := range map[string]func(a, b *fixtures.Endpoint) func(context.Context) error{
		"the fixture was never reached": func(_, _ *fixtures.Endpoint) func(context.Context) error {
			return func(context.Context) error { return nil }
		},
		"the fault never fired: accepted": func(_, b *fixtures.Endpoint) func(context.Context) error { return failover(b) },
		"":                                func(a, b *fixtures.Endpoint) func(context.Context) error { return failover(a, b) },
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			a, b := sockettest.Start(tb, fixtures.Reset{OnAccept: true}), sockettest.Start(tb, fixtures.HalfClose{Data: "x"})
			sockettest.Expect(tb, sockettest.Together(tb, a, b), sockettest.Accepted, op(a, b))
		})
		assert.Equal(t, want != "", tb.Failed(), tb.Text())
		assert.Contains(t, tb.Text(), want)
	}
}

// A client that obeys no context is let go by the end of all of them.
func TestTogetherLetsGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		a := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		b := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))
		r := sockettest.Expect(t, sockettest.Together(t, a, b), sockettest.Blocked.For(s), func() error {
			c, err := b.DialContext(t.Context(), "", "")
			if err != nil {
				return err
			}
			defer c.Close()
			return read(c, false)(t.Context())
		})
		require.NotNil(t, r.Then)
		assert.NoError(t, sockettest.Disconnected.Check(*r.Then))
	})
}

func TestTogetherBadInput(t *testing.T) {
	t.Parallel()
	for want, call := range map[string]func(tb *faketb.TB, ep *fixtures.Endpoint){
		"bad argument: sockettest.Together: there are 1 fixtures; want two or more": func(tb *faketb.TB, ep *fixtures.Endpoint) { sockettest.Together(tb, ep) },
		"fixture 2 is nil; want what Start returned":                                func(tb *faketb.TB, ep *fixtures.Endpoint) { sockettest.Together(tb, ep, nil) },
		"fixture 2 is there twice":                                                  func(tb *faketb.TB, ep *fixtures.Endpoint) { sockettest.Together(tb, ep, ep) },
		"fixture 1 is a Group; want its fixtures themselves": func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.Together(tb, &sockettest.Group{}, ep)
		},
		"want fixtures that a client dials": func(tb *faketb.TB, ep *fixtures.Endpoint) { sockettest.Together(tb, ep, &hostile.Attack{}) },
		"ep is a Group of nothing; want what Together returned": func(tb *faketb.TB, _ *fixtures.Endpoint) {
			sockettest.Expect(tb, &sockettest.Group{}, sockettest.Accepted, func() error { panic("it was run") })
		},
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) { call(tb, sockettest.Start(tb, fixtures.Echo{})) })
		assert.True(t, tb.Failed())
		assert.Contains(t, tb.Text(), want)
	}
	assert.Empty(t, sockettest.Together(nil).String())
}
