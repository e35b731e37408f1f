package reference

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func at(n int) time.Time { return base.Add(ms(n)) }

// keep returns a watch that has noted those latenesses, as pairs of milliseconds since base.
func keep(pairs ...[2]int) *Watch {
	w := &Watch{from: &lateness{}}
	last := w.from
	for _, p := range pairs {
		l := &lateness{due: ms(p[0]), fired: ms(p[1])}
		last.next.Store(l)
		last = l
	}
	return w
}

// The timer was 300 ms late at 100 ms, 10 ms late at 500 ms, and less so twice.
func TestLateIsTheWorstThree(t *testing.T) {
	w := keep([2]int{100, 400}, [2]int{500, 510}, [2]int{600, 602}, [2]int{700, 705}, [2]int{1e9, 1e9})
	for _, tt := range []struct {
		name       string
		from, to   int
		worst, all int
	}{
		{"before", 0, 100, 0, 0},
		{"until its middle", 0, 250, 150, 155},
		{"from its middle", 250, 450, 150, 155},
		{"in its middle", 200, 210, 10, 10},
		{"between the two", 400, 500, 0, 0},
		{"two", 0, 550, 310, 320},
		{"all", 0, 1000, 315, 337},
		{"the last three", 400, 1000, 17, 32},
		{"after", 705, 1000, 0, 0},
		{"the wrong way round", 300, 200, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			worst, sum := w.Late(at(tt.from), at(tt.to))
			assert.Equal(t, ms(tt.worst), worst)
			assert.Equal(t, ms(tt.all), sum)
		})
	}
}

// However often the timer is late, three of them are the worst.
func TestWorstDoesNotAddUp(t *testing.T) {
	var many [][2]int
	for i := range 1000 {
		many = append(many, [2]int{30 * i, 30*i + 25})
	}
	worst, sum := keep(many...).Late(at(0), at(30000))
	assert.Equal(t, ms(3*25), worst)
	assert.Equal(t, ms(1000*30), sum)
}

// A stall is seen while it lasts and once it is over, by a watch that ended meanwhile too.
func TestLateSeesAStall(t *testing.T) {
	var w, ended Watch
	start := time.Now()
	w.Begin(time.Hour)
	defer w.End()
	ended.Begin(time.Hour)
	for !all.timer.Stop() { // it cannot fire, nor is it firing
	}
	due := base.Add(time.Duration(all.due.Load()))
	for time.Since(due) < ms(20) || time.Since(start) < ms(20) { // it may have been due before
	}
	ended.End()
	ended.End()
	now := time.Now()
	for range 2 {
		for _, w := range []*Watch{&w, &ended} {
			worst, sum := w.Late(start, now)
			assert.GreaterOrEqual(t, worst, ms(20))
			assert.GreaterOrEqual(t, sum, worst)
		}
		all.record()
	}
}

// A timer that has fired waits for those that are ready, as code may that has waited for it.
func TestTimerWaitsForATurn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	waited := false
	for range 40 { // the race detector shuffles the order: in one of four the timer is first
		var c clock
		c.begin(&lateness{})
		c.armed.Store(true)
		var before atomic.Int64
		var ready sync.WaitGroup
		for range 10 {
			ready.Go(func() {
				if c.armed.Load() { // it has not noted anything yet
					before.Add(1)
				}
			})
		}
		c.fire()
		for c.armed.Load() {
			runtime.Gosched()
		}
		ready.Wait()
		waited = waited || before.Load() == 10
	}
	assert.True(t, waited)
}

// However many goroutines are busy all the time, it does not wait while each of them runs again and
// again: code that has waited would not.
func TestTimerWaitsForOneTurnOnly(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // else a thread that stalls counts, too
	const busy = 100
	var turns atomic.Int64
	var working sync.WaitGroup
	var c clock
	c.begin(&lateness{})
	c.armed.Store(true)
	for range busy {
		working.Go(func() {
			for c.armed.Load() {
				turns.Add(1)
				runtime.Gosched()
			}
		})
	}
	for turns.Load() < busy { // each has had a turn
		runtime.Gosched()
	}
	turns.Store(0)
	c.fire()
	working.Wait()
	assert.LessOrEqual(t, turns.Load(), int64(2*busy))
}

// The timer stops when nobody watches, and starts again, whoever begins and ends at the same time.
func TestTimerRunsWhileWatched(t *testing.T) {
	for range 3 {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				var w Watch
				w.Begin(time.Hour)
				assert.True(t, all.armed.Load())
				w.End()
			})
		}
		wg.Wait()
		for all.armed.Load() {
		}
		assert.Zero(t, all.watches.Load())
	}
}

// The watch's own timer notes a stall that the other one does not see, and it counts once if both
// see it.
func TestOwnTimerCounts(t *testing.T) {
	w := keep([2]int{100, 400}, [2]int{1e9, 1e9})
	w.head.next.Store(&lateness{due: ms(300), fired: ms(800)})
	worst, sum := w.Late(at(0), at(350))
	assert.Equal(t, ms(250), worst)
	assert.Equal(t, ms(255), sum)
	worst, sum = w.Late(at(0), at(1000))
	assert.Equal(t, ms(500), worst)
	assert.Equal(t, ms(505), sum)
}

// In a bubble nothing is late, and years pass at once.
func TestWatchDoesNotHoldUpABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Watch
		start := time.Now()
		w.Begin(time.Hour)
		defer w.End()
		time.Sleep(10 * 365 * 24 * time.Hour)
		assert.Nil(t, w.from)
		worst, sum := w.Late(start, time.Now())
		assert.Zero(t, worst+sum)
	})
}
