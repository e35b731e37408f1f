// Package timeline is the list of what a fixture saw and did, in order, and can wait for its
// events. It knows no fixture: the caller says what the kinds of events mean.
package timeline

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An Entry is one thing that a fixture saw or did. Its fields are those of fixtures.Event, which
// says what they mean; K is the type of its kinds.
type Entry[K ~string] struct {
	At    time.Duration
	Kind  K
	Conn  int
	Count int
	Note  string
}

// A kept event is one that was not forgotten.
type kept[K ~string] struct {
	Entry[K]
	before int // how many events stand before it, those included that were forgotten
}

// As returns the events that are kept as values of another type that has the fields of an [Entry].
func As[E ~struct {
	At    time.Duration
	Kind  K
	Conn  int
	Count int
	Note  string
}, K ~string](l *Log[K]) []E {
	all, _ := Placed[E](l)
	return all
}

// Placed returns what As does, and how many events stand before each.
func Placed[E ~struct {
	At    time.Duration
	Kind  K
	Conn  int
	Count int
	Note  string
}, K ~string](l *Log[K]) (all []E, before []int) {
	if l == nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all, before = make([]E, 0, len(l.events)), make([]int, 0, len(l.events))
	for _, e := range l.events {
		if !l.gone[e.Conn] {
			all, before = append(all, E(e.Entry)), append(before, e.before)
		}
	}
	return all, before
}

// ErrEnded is the error of waiting for an event of a fixture that is closed.
var ErrEnded = fmt.Errorf("the endpoint is closed: %w", net.ErrClosed)

// A Log is the list of events. Its methods may be called from any goroutine. A nil Log belongs to a
// fixture that was never started: it is empty and stays so.
type Log[K ~string] struct {
	start time.Time
	ended error
	kinds []K // that may come; nil is any

	order atomic.Int64 // counts the parts of what passed
	round atomic.Int64 // see NextRound

	mu      sync.Mutex
	events  []kept[K]
	n       int           // of events, those included that were forgotten
	gone    map[int]bool  // connections that were forgotten, some of whose events may be there still
	tallies []tally[K]    // of the kinds that came, or are awaited: few
	changed chan struct{} // closed by the next event; nil while nobody waits
	stopped bool
	rounds  [keepRounds]Part // a ring
}

// A tally counts the events of a kind, for those who wait for more of them.
type tally[K ~string] struct {
	kind  K
	n     int
	waits []*wait // the one that is over first is the first
}

// A wait is over when there are n events.
type wait struct {
	n    int
	over chan struct{} // closed then, and when the log is stopped
}

// keepRounds is how many rounds a log remembers: as many operations may run beside each other.
const keepRounds = 4

// New returns an empty list for events of these kinds, or of any kind if there are none. Its times
// count from now. Waits end with the error ended when the list is stopped.
func New[K ~string](ended error, kinds ...K) *Log[K] {
	return &Log[K]{start: time.Now(), ended: ended, kinds: kinds, events: make([]kept[K], 0, 4)} // as many as one without connections has
}

// Start returns the moment from which the events are timed; zero if the fixture was never started.
func (l *Log[K]) Start() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.start
}

// Add records an event now.
func (l *Log[K]) Add(k K, conn int, note string) {
	l.Append(Entry[K]{Kind: k, Conn: conn, Note: note})
}

// Append records e as an event of now, and ignores its At.
func (l *Log[K]) Append(e Entry[K]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(e)
}

// Insert records an event of an earlier time, after all that had happened by then.
func (l *Log[K]) Insert(at time.Time, e Entry[K]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(e)
	i := len(l.events) - 1
	e = l.events[i].Entry
	e.At = max(0, min(e.At, at.Sub(l.start)))
	for ; i > 0 && l.events[i-1].At > e.At; i-- {
		l.events[i].Entry = l.events[i-1].Entry
	}
	l.events[i].Entry = e
}

// Forget keeps the events of a connection no longer, after which there are no more. They still
// count.
func (l *Log[K]) Forget(conn int) {
	const fewest, share = 1000, 8
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone == nil {
		l.gone = map[int]bool{}
	}
	l.gone[conn] = true
	if len(l.gone) < max(fewest, len(l.events)/share) {
		return // so that it costs little for each
	}
	l.events = slices.DeleteFunc(l.events, func(e kept[K]) bool { return l.gone[e.Conn] })
	clear(l.gone)
}

// Stop records the last event, and ends every wait.
func (l *Log[K]) Stop(k K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.append(Entry[K]{Kind: k})
	for i := range l.tallies {
		for _, w := range l.tallies[i].waits {
			close(w.over)
		}
		l.tallies[i].waits = nil
	}
}

// append ends the waits that are for this event. The caller holds mu.
func (l *Log[K]) append(e Entry[K]) {
	e.At = time.Since(l.start)
	l.events = append(l.events, kept[K]{e, l.n})
	l.n++
	t := l.tally(e.Kind)
	for t.n++; len(t.waits) > 0 && t.waits[0].n <= t.n; t.waits = t.waits[1:] {
		close(t.waits[0].over)
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// NextRound keeps what passes from now on apart from what has passed before, and remembers when
// that was.
func (l *Log[K]) NextRound() {
	at, round := time.Since(l.start), l.round.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rounds[round%keepRounds] = Part{Way: Round, At: at, After: l.n, Order: l.next()}
}

// Rounds returns when the latest rounds began.
func (l *Log[K]) Rounds() (list []Part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.rounds {
		if p.Order > 0 {
			list = append(list, p)
		}
	}
	return list
}

func (l *Log[K]) stamp() (at time.Duration, round int64) { return time.Since(l.start), l.round.Load() }

func (l *Log[K]) next() int64 { return l.order.Add(1) }

// Len returns how many events there were.
func (l *Log[K]) Len() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// Await blocks until there are n events of kind k, earlier ones included. The error says how many
// there were when ctx ended or the fixture was stopped. A kind that is not among those of the list
// is an error at once.
func (l *Log[K]) Await(ctx context.Context, k K, n int) error {
	if l == nil {
		return ErrEnded
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds != nil && n > 0 && !slices.Contains(l.kinds, k) {
		return fmt.Errorf("awaiting %d x %q: there is no such event here; want one of %q", n, k, l.kinds)
	}
	err := l.ended
	if l.tally(k).n < n && !l.stopped {
		err = l.sleep(ctx, k, n)
	}
	if got := l.tally(k).n; got < n {
		return fmt.Errorf("awaiting %d x %s, saw %d: %w", n, k, got, err)
	}
	return nil
}

// sleep waits for n events of kind k. It returns why it waits no longer. The caller holds mu.
func (l *Log[K]) sleep(ctx context.Context, k K, n int) (err error) {
	w, t := &wait{n, make(chan struct{})}, l.tally(k)
	at, _ := slices.BinarySearchFunc(t.waits, n+1, func(w *wait, n int) int { return cmp.Compare(w.n, n) })
	t.waits = slices.Insert(t.waits, at, w)
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-w.over:
		return l.ended
	case <-ctx.Done():
		l.forget(k, w)
		return context.Cause(ctx)
	}
}

// forget is for a wait that is given up.
func (l *Log[K]) forget(k K, w *wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally(k)
	t.waits = slices.DeleteFunc(t.waits, func(o *wait) bool { return o == w })
}

// tally returns that of a kind, until the next one is added. The caller holds mu.
func (l *Log[K]) tally(k K) *tally[K] {
	for i := range l.tallies {
		if l.tallies[i].kind == k {
			return &l.tallies[i]
		}
	}
	l.tallies = append(l.tallies, tally[K]{kind: k})
	return &l.tallies[len(l.tallies)-1]
}

// Count returns how many events of kind k there were.
func (l *Log[K]) Count(k K) int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally(k).n
}

// Changed returns a channel that is closed at the next event.
func (l *Log[K]) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}
