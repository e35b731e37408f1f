package sockettest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
)

// A key is a context value's.
type key struct{}

func TestOpContextSeesChildrenEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const s = time.Second
		parent, end := context.WithCancelCause(t.Context())
		defer end(nil)
		c := &opContext{Context: parent}
		start := time.Now()
		for _, d := range []time.Duration{7 * s, 2 * s, 4 * s} {
			_, cancel := context.WithTimeout(c, d)
			defer cancel()
		}
		cancelled, cancel := context.WithCancel(c)
		time.Sleep(time.Second)
		cancel()
		<-cancelled.Done()
		time.Sleep(time.Hour)
		assert.Equal(t, s, c.endedBetween(start, 0, time.Hour), "the first")
		assert.Equal(t, 2*s, c.endedBetween(start, s+1, time.Hour))
		assert.Equal(t, 4*s, c.endedBetween(start, 4*s, 4*s), "the bounds count")
		assert.Zero(t, c.endedBetween(start, 4*s+1, 7*s-1))
		assert.Zero(t, c.endedBetween(start.Add(7*s), 0, time.Hour), "before the start")
	})
}

// What ends with the operation's context has not ended by itself, and ends for the same cause.
func TestOpContextEndsItsChildren(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, end := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
		c := &opContext{Context: parent}
		start := time.Now()
		child, cancel := context.WithTimeout(c, time.Hour)
		defer cancel()
		assert.Equal(t, "value", child.Value(key{}))
		select {
		case <-c.Done():
			t.Error("nothing has ended yet")
		default:
		}
		time.Sleep(time.Second)
		end(io.ErrUnexpectedEOF)
		<-c.Done()
		<-child.Done()
		require.ErrorIs(t, child.Err(), context.Canceled)
		require.Equal(t, io.ErrUnexpectedEOF, context.Cause(child))
		assert.Zero(t, c.endedBetween(start, 0, time.Hour))
	})
}

// The latest ends are kept.
func TestOpContextKeepsTheLatestEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &opContext{Context: t.Context()}
		start := time.Now()
		for range keepEnded + 3 {
			time.Sleep(time.Second)
			_, cancel := context.WithCancel(c)
			cancel()
		}
		assert.Equal(t, 4*time.Second, c.endedBetween(start, 0, time.Hour))
		assert.Equal(t, (keepEnded+3)*time.Second, c.endedBetween(start, (keepEnded+3)*time.Second, time.Hour))
	})
	var none *opContext
	assert.Zero(t, none.endedBetween(time.Time{}, 0, time.Hour), "an operation that takes no context")
}

// The context that a dial makes for itself ends with the dial: the client may go on.
func TestOpContextIgnoresThoseOfDials(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.Echo{})
	ctx, start := &opContext{Context: t.Context()}, time.Now()
	c, err := (&net.Dialer{Timeout: time.Hour}).DialContext(ctx, "tcp", ep.Addr())
	assert.NoError(t, err)
	assert.NoError(t, c.Close())
	assert.Zero(t, ctx.endedBetween(start, 0, time.Hour))
	_, cancel := context.WithCancel(ctx)
	cancel()
	assert.NotZero(t, ctx.endedBetween(start, 0, time.Hour))
}

// A herd of correct clients, each of which must wait for its turn once its deadline has passed. It
// is not parallel: beside the herds of other tests it may take longer than the 2 s that a slow
// machine excuses.
func TestExpectFailsNoneOfAHerd(t *testing.T) {
	manytests.NeedsDescriptors(t, 600)
	NoLeaks(t)
	ep := Start(t, fixtures.BlackHole{})
	var herd sync.WaitGroup
	for range 500 {
		herd.Go(func() { Expect(t, ep, TimedOut.After(limit), dialing(ep, limit)) })
	}
	herd.Wait()
}

// With Slack three delays of the machine are excused, without it all up to two seconds, or three
// that are longer.
func TestExcusedDelays(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct{ worst, all, strict, usual time.Duration }{
		{0, 0, 0, 0},
		{50 * ms, 400 * ms, 50 * ms, 400 * ms},
		{300 * ms, time.Minute, 300 * ms, 2 * time.Second},
		{3 * time.Second, time.Minute, 3 * time.Second, 3 * time.Second},
	} {
		assert.Equal(t, tt.strict, TimedOut.After(limit).Slack(defaultSlack).excused(tt.worst, tt.all))
		assert.Equal(t, tt.usual, TimedOut.After(limit).excused(tt.worst, tt.all))
	}
}

// One that is late by itself is found, to the nanosecond where time is exact.
func TestReferenceDoesNotExcuseSlowCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		takes time.Duration
		want  string
	}{
		{limit, ""},
		{limit + defaultSlack, ""},
		{limit + defaultSlack + 1, "call: accepted 1ns too late"},
		{limit + time.Minute, "call: accepted 59.8s too late"},
	} {
		synctest.Test(t, func(t *testing.T) {
			want := Accepted.After(limit).Slack(defaultSlack) // in a bubble there is none otherwise
			r := begin(t.Context(), want, func(context.Context) error { time.Sleep(tt.takes); return nil }, false, operator{})
			defer r.end()
			<-r.done
			err := want.Check(r.result())
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
		})
	}
}

// An operation that waits for its context sees at once that it is cancelled, whatever else runs.
func TestCancelClosesDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := begin(t.Context(), Blocked.For(1), func(ctx context.Context) error { <-ctx.Done(); return nil }, true, operator{})
		defer r.end()
		synctest.Wait()
		r.cancel()
		select {
		case <-r.ctx.Done():
		default:
			assert.Fail(t, "it is not done yet")
		}
		<-r.done
	})
}

// What is let go has as much longer to return as the machine was late meanwhile, up to the time
// for the report.
func TestReturnsLateOnALateMachine(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{0, time.Minute} {
		for _, end := range []time.Time{{}, time.Now().Add(time.Hour), time.Now()} {
			r := &run{done: make(chan struct{}, 1)}
			returned := r.returns(1, end, func(time.Time) time.Duration { r.done <- struct{}{}; return late })
			assert.Equal(t, late > 0 && (end.IsZero() || time.Until(end) > 0), returned)
		}
	}
}

// When the operation is over its context is done at once, without a goroutine for that.
func TestContextIsDoneAtOnce(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{true, false} {
		parent, cancel := context.WithCancel(t.Context())
		c := &opContext{Context: parent}
		if asked {
			c.Done()
		}
		cancel = c.canceler(cancel)
		cancel()
		cancel()
		require.Error(t, c.Err())
		if asked {
			select {
			case <-c.done:
			default:
				assert.Fail(t, "it is not done yet")
			}
		}
		<-c.Done()
	}
}
