package timeline_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/timeline"
)

type kind string

type event struct {
	At    time.Duration
	Kind  kind
	Conn  int
	Count int
	Note  string
}

func TestAwaitCountsEarlierEventsAndWaitsForTheRest(t *testing.T) {
	t.Parallel()
	l := timeline.New[kind](timeline.ErrEnded, "a", "b", "end")
	l.Add("a", 1, "first")
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, l.Await(t.Context(), "a", 3)) })
	l.Add("b", 0, "")
	l.Append(timeline.Entry[kind]{Kind: "a", Count: 7, At: -1})
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
	l := timeline.New[kind](timeline.ErrEnded, "a", "b", "end")
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
	l := timeline.New[kind](timeline.ErrEnded, "a", "b")
	require.EqualError(t, l.Await(t.Context(), "c", 1), `awaiting 1 x "c": there is no such event here; want one of ["a" "b"]`)
	require.NoError(t, l.Await(t.Context(), "c", 0))
}
