package sweep

import (
	"cmp"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// glance is how often a bubble is looked at from outside, in real time, and glances is how often
	// it must be found frozen, in the same way. Before each look everybody else gets turns.
	glance, glances, turns = 250 * time.Millisecond, 3, 100
	// busy is how much real time one conversation may take while something in it goes on.
	busy = 20 * time.Second
	// mostFrozen is how many conversations with one fault in one direction may freeze, and mostDead
	// how many in all may leave goroutines behind: these stay until the process ends.
	mostFrozen, mostDead = 2, 500
)

// all runs all points, as many at once as there are workers, and returns their results in order.
func (s *sweep) all(points []point) []result {
	s.t.Helper()
	results := make([]result, len(points))
	var next atomic.Int64
	var wg sync.WaitGroup
	left := left{until: s.until, isolated: s.on}
	for range s.workers(len(points)) {
		wg.Go(func() {
			w := &worker{sweep: s}
			defer w.end()
			for i := next.Add(1) - 1; i < int64(len(points)); i = next.Add(1) - 1 {
				if results[i] = (result{point: points[i], skipped: left.skips(points[i])}); results[i].skipped == "" {
					results[i] = w.have(points[i], false)
					if left.count(results[i]); results[i].Frozen { // it sleeps in real time, beside the others
						wg.Go(func() { results[i] = s.thaw(results[i]) })
					}
				}
			}
		})
	}
	over := make(chan struct{})
	go func() {
		wg.Wait()
		close(over)
	}()
	tick := time.NewTicker(cmp.Or(s.every, progressEvery))
	defer tick.Stop()
	for begin := time.Now(); ; {
		select {
		case <-over:
			return results
		case <-tick.C:
			done, bad := left.progress()
			s.t.Logf("sweep: %d of %s, %.0f a second, %d with violations", done, count(len(points), "conversation"),
				float64(done)/time.Since(begin).Seconds(), bad)
		}
	}
}

// workers is how many there are for as many points.
func (s *sweep) workers(points int) int {
	return min(cmp.Or(s.cfg.Workers, runtime.GOMAXPROCS(0)), points)
}

// progressEvery is how often a long sweep says how far it is, which go test shows at once with -v.
const progressEvery = 10 * time.Second

// A skip is why a point was not tried.
type skip string

const (
	stuck     skip = "too many before them left goroutines behind that never end"
	outOfTime skip = "the test's deadline is near"
)

// left counts what stays in the process, and knows how much time is left.
type left struct {
	until    time.Time // zero is no limit
	isolated bool      // what stays, stays in another process

	mu     sync.Mutex
	frozen map[string]int // by connection, place and fault
	dead   int
	busy   bool
	done   int
	bad    int
}

func (l *left) progress() (done, bad int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done, l.bad
}

func (l *left) count(r result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done++; len(r.Found) > 0 {
		l.bad++
	}
	switch {
	case r.Frozen || r.Busy && l.isolated: // it costs real time
		if l.frozen == nil {
			l.frozen = map[string]int{}
		}
		l.frozen[r.point.series()]++
	case l.isolated:
	case r.Busy:
		l.busy = true
	case r.Dead:
		l.dead++
	}
}

func (l *left) skips(p point) skip {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.busy || l.dead >= mostDead || l.frozen[p.series()] >= mostFrozen:
		return stuck
	case !l.until.IsZero() && time.Now().After(l.until):
		return outOfTime
	}
	return ""
}

// run prepares one. What it needs of the sweep that changes, it has itself: it may be given up, and
// go on.
func (s *sweep) run(p point, full bool) *run {
	return &run{sweep: s, point: p, full: full, hop: s.hop, most: max(mostDials, 10*s.good.Dials)}
}

// watched has a conversation, and gives it up if its clock stands still.
func (s *sweep) watched(r *run) result {
	over, begin, same := make(chan result, 1), time.Now(), 0
	var name atomic.Pointer[string]
	go func() {
		own := ownName()
		name.Store(&own)
		defer func() { over <- r.result }() // also where a data race ends the goroutine
		s.inBubble(r)
	}()
	look := time.NewTicker(glance)
	defer look.Stop()
	for who := ""; ; {
		select {
		case res := <-over:
			return res
		case <-look.C:
		}
		for range turns {
			runtime.Gosched()
		}
		holding, others := "", ""
		if own := name.Load(); own != nil {
			holding, others = lookInto(*own)
		}
		if same++; holding == "" || holding != who {
			who, same = holding, 0
		}
		if same == glances {
			res := r.givenUp(freezes, holding+"\n\n"+others, "cannot be judged in virtual time: a goroutine waits for "+waitsFor(holding)+
				" and stops the clock")
			res.Frozen = true
			return res
		}
		if d := time.Since(begin); d > busy {
			res := r.givenUp(hangs, others, fmt.Sprintf("it goes on without end, and took %v of real time", d.Round(time.Second)))
			res.Busy = true
			return res
		}
	}
}

// thaw has a conversation once more whose clock stood still, in real time: its operation may be
// right, and a timer end what it waits for. What is wrong then, is wrong.
func (s *sweep) thaw(r result) result {
	if !r.Frozen || s.on { // a child has done so
		return r
	}
	again := s.run(r.point, true)
	again.real, again.result.point = true, r.point
	again.converse()
	again.result.Frozen = true
	return again.result
}

// waitsFor guesses what stops the clock.
func waitsFor(stack string) string {
	if strings.Contains(stack, "[IO wait") {
		return "a real socket, which is not of the sweep's network,"
	}
	return "what no timer ends, such as a mutex,"
}

// givenUp is the result of a conversation that still goes on.
func (r *run) givenUp(k kind, stacks, text string) result {
	return result{point: r.point, Fired: true, GoesOn: true, Found: []violation{{k, text}}, Stacks: stacks}
}
