// Package reference measures how late this machine is with timers, so that a slow machine is not
// held against the code under test.
package reference

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// tick is how often a timer fires. A stall that is shorter can fall between two ticks and be
	// missed.
	tick = 5 * time.Millisecond
	// waits is how often code that waits once also waits for the machine: for its turn to begin, to
	// wake up, and for the turn of those that it tells.
	waits = 3
)

// base is when times are counted from.
var base = time.Now()

// A lateness is when a timer should have fired, and when it did. It points to the next one, so that
// old ones become garbage.
type lateness struct {
	due, fired time.Duration
	next       atomic.Pointer[lateness]
}

// A clock is a timer that fires again and again while somebody watches, and records how late it
// was. It has no lock: on a busy machine, a thread that holds the lock and does not run would hold
// up all operations at once.
type clock struct {
	watches atomic.Int64
	armed   atomic.Bool
	due     atomic.Int64 // when the timer is to fire, if it is armed
	last    atomic.Pointer[lateness]
	timer   *time.Timer
}

// all is the clock of the process.
var all clock

func init() { all.begin(&lateness{}) }

// begin makes the timer. head comes before what the clock will record.
func (c *clock) begin(head *lateness) {
	c.last.Store(head)
	c.timer = time.AfterFunc(math.MaxInt64, c.fire)
}

// ensure arms the timer, if it is not.
func (c *clock) ensure(first time.Duration) {
	if c.armed.CompareAndSwap(false, true) {
		c.arm(first)
	}
}

func (c *clock) arm(d time.Duration) {
	c.due.Store(int64(time.Since(base) + min(d, math.MaxInt64/2)))
	c.timer.Reset(d)
}

// fire lets record wait for one turn of each queue: a timer's function jumps them, code that was
// waiting does not (runtime/proc.go). What yields goes to the end of the queue of all processors,
// as what a socket has woken up does on a busy machine. A new goroutine runs next, and sends the
// one that was to do so to the end of its processor's queue, as what is woken up among others does.
func (c *clock) fire() {
	runtime.Gosched()
	go c.record()
	go func() {}()
}

// record notes how late the timer is, and arms it again while somebody watches.
func (c *clock) record() {
	due, now := time.Duration(c.due.Load()), time.Since(base)
	if now-due >= time.Millisecond { // a timer is never quite exact
		l := &lateness{due: due, fired: now}
		c.last.Load().next.Store(l)
		c.last.Store(l)
	}
	if c.watches.Load() > 0 {
		c.arm(tick)
		return
	}
	c.armed.Store(false)
	if c.watches.Load() > 0 { // since
		c.ensure(tick)
	}
}

// late adds up what came after a lateness, between two moments.
func (c *clock) late(after *lateness, from, to time.Duration) (worst, sum time.Duration) {
	var most [waits]time.Duration // the worst first
	overdue := func(due, fired time.Duration) {
		late := max(0, min(fired, to)-max(due, from))
		if late > 0 {
			sum += late + tick
		}
		for i := range most {
			if late > most[i] {
				most[i], late = late, most[i]
			}
		}
	}
	last := after
	for l := last.next.Load(); l != nil; l = l.next.Load() {
		overdue(l.due, l.fired)
		last = l
	}
	if due := time.Duration(c.due.Load()); c.armed.Load() && due > last.due {
		overdue(due, time.Since(base))
	}
	for _, late := range most {
		worst += late
	}
	return worst, min(sum, max(0, to-from))
}

// A Watch knows how late timers are from Begin on. For the zero Watch, which has not begun, nothing
// is late. Late and End may be called from any goroutine once Begin has returned.
//
// Two timers run. One fires every 5 ms, and serves all watches of the process. The other is the
// watch's own: the scheduler of Go keeps it where it keeps the timers of the goroutine that began
// (each processor has its own, and one of them may stall). Each waits behind the goroutines that
// are ready to run when it has fired, for a turn, as code may that waits for a timer or a socket.
// Its lateness includes that wait, and the later of the two timers counts.
//
// A thread may wait for a processor with the goroutine that it runs, while others serve the timers:
// among more programs than processors, what computes is slow though no timer is late. Where the
// kernel tells (Linux), the sum has that too.
type Watch struct {
	from *lateness // the last one of all before it began
	own  clock
	head lateness // before the first one of own
	been *tally   // before it began
}

// Begin starts the watch. Its own timer fires after first, and then every 5 ms. In a
// testing/synctest bubble, whose times have no monotonic reading, it does nothing: nothing is late
// there.
func (w *Watch) Begin(first time.Duration) {
	if now := time.Now(); now == now.Round(0) {
		return
	}
	w.been = tallySince(time.Since(base) - recent)
	all.watches.Add(1)
	w.from = all.last.Load()
	all.ensure(tick)
	w.own.begin(&w.head)
	w.own.watches.Add(1)
	w.own.ensure(first)
}

// Late returns how much the machine may have delayed code between two moments after Begin. Late
// ticks took sum in all, or a thread waited for a processor for that long; and a timer was overdue
// for worst at the three worst times. Unlike sum, worst does not grow with the time between the
// two.
func (w *Watch) Late(from, to time.Time) (worst, sum time.Duration) {
	if w.from == nil {
		return 0, 0
	}
	begin, end := from.Sub(base), to.Sub(base)
	worst, sum = all.late(w.from, begin, end)
	ownWorst, ownSum := w.own.late(&w.head, begin, end)
	waited := min(tallySince(end).since(w.been), end-begin)
	return max(worst, ownWorst), max(sum, ownSum, waited)
}

// End stops the watch. Late still answers for the time before.
func (w *Watch) End() {
	if !w.own.watches.CompareAndSwap(1, 0) {
		return
	}
	all.watches.Add(-1)
	w.own.timer.Stop()
}
