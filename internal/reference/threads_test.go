package reference

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// One thread may have lost all that it waited, or all threads together what each processor of Go's
// had to wait.
func TestStallOfOneThreadOrOfAll(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	before := &tally{waited: map[string]time.Duration{"1": ms(1000), "2": ms(7), "gone": ms(5)}}
	for _, tt := range []struct {
		want int
		now  map[string]time.Duration
	}{
		{0, nil},
		{0, before.waited},
		{30, map[string]time.Duration{"1": ms(1030), "2": ms(7)}},
		{30, map[string]time.Duration{"1": ms(1030), "2": ms(17), "new": ms(10)}},
		{50, map[string]time.Duration{"1": ms(1040), "2": ms(37), "new": ms(30)}},
	} {
		assert.Equal(t, ms(tt.want), (&tally{waited: tt.now}).since(before))
	}
}

// What threads wait for a processor is in the sum, as much as there was time for, and not in what a
// strict window gets.
func TestThreadsThatWaitCount(t *testing.T) {
	var w Watch
	w.Begin(time.Hour)
	defer w.End()
	begin := time.Now()
	for _, waited := range []int{20, 1e6} {
		for time.Since(begin) < ms(30) {
		}
		now := time.Now()
		lastTally.Store(&tally{now.Sub(base), map[string]time.Duration{"new": ms(waited)}})
		worst, sum := w.Late(begin, now)
		assert.Less(t, worst, time.Hour)
		assert.GreaterOrEqual(t, sum, min(ms(waited), now.Sub(begin)))
		assert.LessOrEqual(t, sum, now.Sub(begin))
	}
}

// The kernel is asked again only for what came after the last answer.
func TestTallyIsAskedOnce(t *testing.T) {
	now := &tally{at: time.Since(base)}
	lastTally.Store(now)
	assert.Same(t, now, tallySince(now.at))
	assert.NotSame(t, now, tallySince(now.at+1))
}

// What threads have waited until the end of an operation counts, though somebody asked just before.
func TestTallyIsOfTheEndOrLater(t *testing.T) {
	var w Watch
	w.Begin(time.Hour)
	defer w.End()
	begin := time.Now()
	before := &tally{at: begin.Sub(base)}
	lastTally.Store(before)
	w.Late(begin, begin.Add(1))
	assert.NotSame(t, before, lastTally.Load())
}

// More threads than processors wait for each other, while the timers may be in time.
func TestThreadsThatWaitAreSeen(t *testing.T) {
	if len(threads()) == 0 {
		t.Skip("this system does not tell how long threads have waited")
	}
	spinners := runtime.NumCPU() + 1
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(spinners + 1))
	begin := tallySince(time.Since(base))
	var spinning sync.WaitGroup
	var stop atomic.Bool
	for range spinners {
		spinning.Go(func() {
			for !stop.Load() {
			}
		})
	}
	for tallySince(time.Since(base)).since(begin) < ms(10) {
	}
	stop.Store(true)
	spinning.Wait()
}
