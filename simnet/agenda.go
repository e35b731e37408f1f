package simnet

import (
	"container/heap"
	"sync"
	"time"
)

// An event is something that happens at a time. Its owner keeps it, and may schedule it again and
// again.
type event struct {
	at    time.Time
	seq   uint64 // events of one instant happen in the order in which they were scheduled
	index int    // in the heap, from 1; 0 is not scheduled
	do    func()
}

// An agenda holds the events to come, behind one timer. Timers that are due at one instant fire in
// random order; events do not.
type agenda struct {
	mu      *sync.Mutex // the network's
	events  queue
	seq     uint64
	timer   *time.Timer // nil if there is nothing to wait for
	number  int         // of that timer
	at      time.Time   // when it fires, or has
	virtual bool        // it belongs to a bubble
	ticking bool        // it is set when all that was due has happened
}

// schedule moves e to t, or adds it.
func (a *agenda) schedule(e *event, t time.Time) {
	a.seq++
	e.at, e.seq = t, a.seq
	if e.index > 0 {
		heap.Fix(&a.events, e.index-1)
	} else {
		heap.Push(&a.events, e)
	}
	a.setTimer()
}

// cancel removes e, if it is scheduled.
func (a *agenda) cancel(e *event) {
	if e.index > 0 {
		heap.Remove(&a.events, e.index-1)
		a.setTimer()
	}
}

// setTimer sets the timer for the first event. A timer that is set for an earlier time is left
// alone: it costs less to let it fire for nothing than to move it with every deadline. A timer of a
// bubble must not be touched outside it, nor one from outside within. It is then left to fire, or
// to vanish with its bubble.
func (a *agenda) setTimer() {
	if a.ticking {
		return
	}
	now := time.Now()
	mine := a.timer != nil && a.virtual == isVirtual(now)
	if len(a.events) == 0 {
		if mine {
			a.timer.Stop()
		}
		a.timer = nil
		return
	}
	first := a.events[0].at
	if mine && !a.at.After(first) && a.at.After(now) {
		return
	}
	a.at, a.virtual = first, isVirtual(now)
	if mine {
		a.timer.Reset(first.Sub(now))
		return
	}
	a.number++
	number := a.number
	a.timer = time.AfterFunc(first.Sub(now), func() { a.tick(number) })
}

// tick runs the events that are due.
func (a *agenda) tick(number int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.number != number {
		return // another has taken its place, perhaps by another clock
	}
	a.ticking = true
	for now := time.Now(); len(a.events) > 0 && !a.events[0].at.After(now); {
		e := heap.Pop(&a.events).(*event)
		e.do()
	}
	a.ticking = false
	a.setTimer()
}

// isVirtual reports whether now was read in a bubble, where times have no monotonic clock reading.
func isVirtual(now time.Time) bool { return now == now.Round(0) }

// A queue is a heap of events by time and sequence.
type queue []*event

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i+1, j+1
}

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	e := x.(*event)
	*q = append(*q, e)
	e.index = len(*q)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = 0
	return e
}

// now returns the time by which the network goes.
func now() time.Time { return time.Now() }

// A deadline is that of one direction of a socket, or of a listener.
type deadline struct {
	expired bool
	event   event
}

// set moves the deadline; the zero time means none. When it expires, wake ends the waits.
func (d *deadline) set(a *agenda, t time.Time, wake func()) {
	if d.event.do == nil && !t.IsZero() {
		d.event.do = func() { d.expired = true; wake() }
	}
	d.expired = !t.IsZero() && !t.After(time.Now())
	switch {
	case d.expired:
		a.cancel(&d.event)
		wake()
	case t.IsZero():
		a.cancel(&d.event)
	default:
		a.schedule(&d.event, t)
	}
}
