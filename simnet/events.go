package simnet

import (
	"container/heap"
	"time"
)

// An event is something that happens at a time, with the network's lock held. Its owner keeps it, and may schedule it
// again and again.
type event struct {
	at    time.Time
	seq   uint64 // events of one instant happen in the order in which they were scheduled
	index int    // in the heap, from 1; 0 is not scheduled
	do    func()
}

// An agenda holds the events to come, behind one timer: timers of one instant fire in random order, events do not.
type agenda struct {
	events  queue
	seq     uint64
	timer   *time.Timer // nil if there is nothing to wait for
	number  int         // of that timer
	at      time.Time   // when it fires, or has
	virtual bool        // it belongs to a bubble
	ticking bool        // it is set when all that was due has happened
}

// schedule puts e at t, wherever it was before. The caller holds mu.
func (n *Network) schedule(e *event, t time.Time) {
	n.agenda.seq++
	e.at, e.seq = t, n.agenda.seq
	if e.index > 0 {
		heap.Fix(&n.agenda.events, e.index-1)
	} else {
		heap.Push(&n.agenda.events, e)
	}
	n.wind()
}

// drop takes e out, if it is in. The caller holds mu.
func (n *Network) drop(e *event) {
	if e.index > 0 {
		heap.Remove(&n.agenda.events, e.index-1)
		n.wind()
	}
}

// wind sets the timer for the first event. One that is set for an earlier time is left alone: it costs less to let it
// fire in vain than to move it with every deadline. A timer of a bubble may not be touched outside it, nor one of the
// outside within; it is then left to fire, or to vanish with its bubble.
func (n *Network) wind() {
	if n.agenda.ticking {
		return
	}
	a, now := &n.agenda, time.Now()
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
	a.timer = time.AfterFunc(first.Sub(now), func() { n.tick(number) })
}

// tick lets happen what is due.
func (n *Network) tick(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agenda.number != number {
		return // another has taken its place, perhaps by another clock
	}
	n.agenda.ticking = true
	for now := time.Now(); len(n.agenda.events) > 0 && !n.agenda.events[0].at.After(now); {
		e := heap.Pop(&n.agenda.events).(*event)
		e.do()
	}
	n.agenda.ticking = false
	n.wind()
}

// isVirtual tells whether now was read in a bubble: there it has no monotonic clock reading.
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

// Push is for package heap.
func (q *queue) Push(x any) {
	e := x.(*event)
	*q = append(*q, e)
	e.index = len(*q)
}

// Pop is for package heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = 0
	return e
}
