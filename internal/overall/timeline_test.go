package overall_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/timeline"
)

type mark string

type event struct {
	At    time.Duration
	Kind  mark
	Conn  int
	Count int
	Note  string
}

func TestAwaitCountsEarlierEventsAndWaitsForTheRest(t *testing.T) {
	t.Parallel()
	l := timeline.New[mark](timeline.ErrEnded, "a", "b", "end")
	l.Add("a", 1, "first")
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, l.Await(t.Context(), "a", 3)) })
	l.Add("b", 0, "")
	l.Append(timeline.Entry[mark]{Kind: "a", Count: 7, At: -1})
	l.Add("a", 2, "third")
	wg.Wait()
	all := timeline.As[event](l)
	require.Len(t, all, 4)
	for i := range all[1:] {
		assert.GreaterOrEqual(t, all[i+1].At, all[i].At)
	}
	assert.Equal(t, 7, all[2].Count)
}

func TestAwaitSaysWhatItSaw(t *testing.T) {
	t.Parallel()
	l := timeline.New[mark](timeline.ErrEnded, "a", "b", "end")
	l.Add("a", 0, "")
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(over)
	err := l.Await(ctx, "a", 2)
	require.ErrorIs(t, err, over)
	require.EqualError(t, err, "awaiting 2 x a, saw 1: over")

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { assert.ErrorIs(t, l.Await(t.Context(), "a", 2), timeline.ErrEnded) })
	}
	l.Stop("end")
	wg.Wait()
	require.NoError(t, l.Await(t.Context(), "end", 1))
	require.ErrorIs(t, l.Await(t.Context(), "a", 2), timeline.ErrEnded)
}

// What cannot come is not waited for.
func TestAwaitRefusesUnknownKinds(t *testing.T) {
	t.Parallel()
	l := timeline.New[mark](timeline.ErrEnded, "a", "b")
	require.EqualError(t, l.Await(t.Context(), "c", 1), `awaiting 1 x "c": there is no such event here; want one of ["a" "b"]`)
	require.NoError(t, l.Await(t.Context(), "c", 0))
}

// A waiter is a context that counts how often somebody who waits asks it.
type waiter struct {
	context.Context
	asked *atomic.Int32
}

func (w waiter) Done() <-chan struct{} {
	w.asked.Add(1)
	return w.Context.Done()
}

// If each event woke each waiter, n events with one would cost n times as much as they should.
func TestAwaitSleepsUntilItIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := timeline.New[mark](timeline.ErrEnded, "a", "b", "end")
		var asked atomic.Int32
		var order []int
		ctx, cancel := context.WithCancel(t.Context())
		for _, n := range []int{40, 60, 20, 50} {
			go func() {
				if l.Await(waiter{ctx, &asked}, "a", n) == nil {
					order = append(order, n)
				}
			}()
			synctest.Wait()
		}
		for range 50 {
			l.Add("a", 0, "")
			l.Add("b", 0, "")
			synctest.Wait()
		}
		assert.Equal(t, []int{20, 40, 50}, order)
		cancel()
		synctest.Wait()
		assert.Equal(t, int32(4), asked.Load(), "each went to sleep once")
		assert.Equal(t, 50, l.Count("a"))
		assert.Zero(t, l.Count("end"))
		for range 20 {
			l.Add("a", 0, "")
		}
		l.Stop("end")
	})
}

// What is forgotten still counts, and what is kept stands where it stood.
func TestForgetKeepsTheCounts(t *testing.T) {
	t.Parallel()
	const n = 10_000
	l := timeline.New[mark](timeline.ErrEnded)
	l.Add("bound", 0, "")
	for i := 1; i <= n; i++ {
		l.Add("a", i, "")
		l.Add("b", i, "")
		if i > 10 {
			l.Forget(i - 5)
		}
	}
	all, before := timeline.Placed[event](l)
	var conns []int
	for i, e := range all[1:] {
		conns = append(conns, e.Conn)
		assert.Equal(t, 2*e.Conn-1+i%2, before[i+1])
	}
	assert.Equal(t, []int{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, n - 4, n - 4, n - 3, n - 3, n - 2, n - 2, n - 1, n - 1, n, n}, conns)
	assert.Equal(t, 2*n+1, l.Len())
	assert.Equal(t, n, l.Count("b"))
	require.NoError(t, l.Await(t.Context(), "a", n))
}
