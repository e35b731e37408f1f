package sockettest

import (
	"runtime"
	"sync"
	"time"
)

// tick is the reference's step once its time has come.
const tick = 5 * time.Millisecond

// A reference is a timer that is started with an operation and fires at the time at which that is to end; from then on it
// ticks. For each tick it lets everybody run who is ready to, as an operation must that has work left after its deadline.
// What all this takes longer than it should, the machine has lost, and so may the operation have: that much more it may be
// late. One late timer would not do: on a busy machine a timer fires in time, and then a hundred dials that ended with it
// wait for their turns.
type reference struct {
	start time.Time
	at    time.Duration // when to fire, since start
	most  int           // ticks to count: more than slack has
	timer *time.Timer

	mu    sync.Mutex
	fired bool
	ticks int
	last  time.Duration // the latest tick
	done  bool
}

// begin starts it.
func (r *reference) begin(start time.Time, at, slack time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start, r.at, r.most = start, at, int(slack/tick)+1
	r.timer = time.AfterFunc(at, r.fire)
}

func (r *reference) fire() {
	runtime.Gosched() // a timer's function jumps the queue; the operation does not
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	if r.fired {
		r.ticks++
	}
	r.fired, r.last = true, time.Since(r.start)
	if r.ticks < r.most {
		r.timer.Reset(tick)
	}
}

// lost is what the machine has lost since the reference was to fire, up to elapsed.
func (r *reference) lost(elapsed time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.timer == nil || elapsed <= r.at:
		return 0
	case !r.fired:
		return elapsed - r.at
	}
	lost := r.last - r.at - time.Duration(r.ticks)*tick
	if r.ticks < r.most {
		lost += max(0, elapsed-r.last-tick) // the tick that is due
	}
	return max(0, lost)
}

func (r *reference) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	if r.timer != nil {
		r.timer.Stop()
	}
}
