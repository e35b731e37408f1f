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
	at      time.Time   // when the next tick comes; zero if none is on its way
	timer   *time.Timer // that brings it; nil if there is nothing to wait for
	virtual bool        // both belong to a bubble
	number  int         // how often the clock has changed
	ticking bool        // the next tick is set when all that was due has happened
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

// setTimer sees to it that a tick comes for the first event. One that comes earlier is left alone:
// it costs less to let it come for nothing than to move it with every deadline. A timer of a bubble
// must not be touched outside it, nor one from outside within. It is then left to fire, or to
// vanish with its bubble.
//
// What is due has a goroutine and no timer: with -race, timers of one bubble that are due when they
// are set end the process, since they run at once and share a part of the race detector's state
// that nothing guards (go.dev/issue/78156).
func (a *agenda) setTimer() {
	if a.ticking {
		return
	}
	now := time.Now()
	if a.virtual != isVirtual(now) {
		a.virtual, a.timer, a.at = !a.virtual, nil, time.Time{}
		a.number++
	}
	if len(a.events) == 0 {
		if a.timer != nil {
			a.timer.Stop()
		}
		a.timer, a.at = nil, time.Time{}
		return
	}
	first, number := a.events[0].at, a.number
	if !a.at.IsZero() && !a.at.After(first) {
		return
	}
	a.at = first
	switch {
	case !first.After(now):
		go a.tick(number)
	case a.timer != nil:
		a.timer.Reset(first.Sub(now))
	default:
		a.timer = time.AfterFunc(first.Sub(now), func() { a.tick(number) })
	}
}

// tick runs the events that are due. That none is does no harm.
func (a *agenda) tick(number int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.number != number {
		return // it was set by another clock
	}
	a.at, a.ticking = time.Time{}, true
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
