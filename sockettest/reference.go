package sockettest

import (
	"runtime"
	"sync"
	"time"
)

// tick is the reference's step once its time has come, and period the one before.
const (
	tick   = 5 * time.Millisecond
	period = 20 * time.Millisecond
)

// A reference is a timer that is started with an operation and fires at the time at which that is to end; from then on it
// ticks. Before, it fires once in each period: an operation that waits several times, as one that tries again does, loses what
// the machine lost in the midst of it. In virtual time nothing is lost, and hours have many periods.
//
// For each tick it lets everybody run who is ready to, as an operation must that has work left after its deadline.
// What all this takes longer than it should, the machine has lost, and so may the operation have: that much more it may be
// late. One late timer would not do: on a busy machine a timer fires in time, and then a hundred dials that ended with it
// wait for their turns.
type reference struct {
	start time.Time
	at    time.Duration // when to fire, since start
	most  int           // ticks to count: more than slack has
	timer *time.Timer

	mu    sync.Mutex
	next  time.Duration // when it is to fire next, before its time has come
	early time.Duration // what was lost before its time
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
	r.next = at
	if virtual := start == start.Round(0); !virtual { // no monotonic clock reading
		r.next = min(at, period)
	}
	r.timer = time.AfterFunc(r.next, r.fire)
}

func (r *reference) fire() {
	runtime.Gosched() // a timer's function jumps the queue; the operation does not
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	now := time.Since(r.start)
	if !r.fired {
		r.early += r.overdue(now)
	}
	if now < r.at {
		r.next = min(r.at, now+period)
		r.timer.Reset(r.next - now)
		return
	}
	if r.fired {
		r.ticks++
	}
	r.fired, r.last = true, now
	if r.ticks < r.most {
		r.timer.Reset(tick)
	}
}

// overdue is how late it is by now with what it was to do before its time; a timer is never quite exact.
func (r *reference) overdue(now time.Duration) time.Duration {
	late := min(now, r.at) - r.next
	if late < time.Millisecond {
		return 0
	}
	return late
}

// lost is what the machine has lost up to elapsed, of an operation that is late.
func (r *reference) lost(elapsed time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.timer == nil || elapsed <= r.at:
		return 0
	case !r.fired:
		return r.early + r.overdue(elapsed) + elapsed - r.at
	}
	lost := r.early + r.last - r.at - time.Duration(r.ticks)*tick
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
