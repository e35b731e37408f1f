package overall_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/patience"
)

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		assert.True(t, patience.Wait(&wg, time.Second), "nothing to wait for")
		wg.Go(func() { time.Sleep(999 * time.Millisecond) })
		assert.True(t, patience.Wait(&wg, time.Second))
		begin := time.Now()
		wg.Go(func() { time.Sleep(time.Minute) })
		assert.False(t, patience.Wait(&wg, time.Second))
		assert.Equal(t, time.Second, time.Since(begin))
		wg.Wait()
	})
}

func TestContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := patience.Context(t.Context(), time.Second)
		assert.NoError(t, ctx.Err())
		<-ctx.Done()
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Equal(t, context.DeadlineExceeded, ctx.Err())
		cancel()

		ctx, cancel = patience.Context(t.Context(), time.Second)
		cancel()
		<-ctx.Done()
		assert.Equal(t, context.Canceled, ctx.Err())

		outer, stop := context.WithCancel(t.Context())
		ctx, cancel = patience.Context(outer, time.Second)
		defer cancel()
		stop()
		<-ctx.Done()
		assert.Equal(t, context.Canceled, ctx.Err())
	})
}

// deep calls f from that many calls below its caller.
//
//go:noinline
func deep(depth int, f func() bool) bool {
	if depth == 0 {
		return f()
	}
	return deep(depth-1, f)
}

func TestInsideAtAnyDepth(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for depth := range 300 {
		assert.False(t, deep(depth, patience.Inside), depth)
		patience.Go(&wg, func() { assert.True(t, deep(depth, patience.Inside), depth) })
	}
	wg.Wait()
}

func TestRetryDoublesUpToASecond(t *testing.T) {
	t.Parallel()
	var r patience.Retry
	var got []time.Duration
	for range 10 {
		got = append(got, r.Next()/time.Millisecond)
	}
	assert.Equal(t, []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000}, got)
}
