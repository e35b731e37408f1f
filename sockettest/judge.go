package sockettest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/go-sockettest/fixtures"
)

// An Operation is what [Expect] and [Measure] run: a call of the code under test. The context of
// the second form is cancelled when the operation takes too long, the test ends, or Expect or
// Measure returns: what is to outlive the operation needs another.
type Operation interface {
	func() error | func(context.Context) error
}

// A Result is how an operation ended.
type Result struct {
	Outcome Outcome       // of the class that was wanted, if the error has several; else of the first
	Phase   string        // of that class
	Elapsed time.Duration // from before the call until after its return
	Err     error         // as the operation returned it
	Classes []Class       // all that can be told from Err
	Note    string        // "contact not visible: ..." where Expect cannot see whether the fixture was reached; else empty

	late      time.Duration      // how much of a delay the machine excuses
	blocked   time.Duration      // of ExpectEnd: since its start, when the other side was blocked, from which late counts
	stack     []string           // where the operation was blocked
	state     string             // of its goroutine there, as the runtime calls it
	sockets   []fixtures.Sockets // of its endpoint's connections at that moment
	events    []fixtures.Event   // and its timeline
	busy      busy               // what it was about instead of waiting
	ctxEnded  time.Duration      // when a context of its own ended; 0 if that was not seen
	unblocked bool               // after it was given up, the operation returned
	release   string             // how it was made to
	closed    *closing           // its fixture's, before it ended, for another operation
	conn      int                // of ExpectEnd: the number of the connection; else 0
	reach     reach              // of Expect: whether it reached the fixture
}

// subject is what ended, or has not.
func (r Result) subject() string {
	if r.conn > 0 {
		return fmt.Sprintf("connection #%d", r.conn)
	}
	return r.Phase
}

// ending is how it did.
func (r Result) ending() string {
	switch _, panicked := r.Err.(*panicError); {
	case panicked:
		return "panicked"
	case r.Err == errExited:
		return "called runtime.Goexit"
	case r.Outcome == Blocked && r.busy.doing != "":
		return r.busy.doing
	case r.Outcome == Other && r.Err != nil:
		return "error " + inShort(r.Err)
	}
	return r.Outcome.of(r.conn > 0)
}

// errExited is the Result.Err of an operation that called runtime.Goexit.
var errExited = errors.New("the operation ended by runtime.Goexit (a t.FailNow or t.Fatal inside it)")

// A panicError is the Result.Err of an operation that panicked.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string {
	return fmt.Sprintf("the operation panicked: %v\n%s", e.value, e.stack)
}

// Measure runs op without a test and without limit, and returns how it ended. The Check method of a
// [Want] judges the result.
func Measure[F Operation](op F) Result {
	run, _, err := operation(op)
	if err != nil {
		return Result{Outcome: Other, Phase: unknownPhase, Err: err, Classes: Classify(err)}
	}
	r := begin(context.Background(), Window{}, run, false, operator{})
	defer r.end()
	<-r.done
	return r.result()
}

// Value makes an [Operation] of a call that returns a value too, and drops the value:
//
//	sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), sockettest.Value(client.Get))
func Value[T any](f func(context.Context) (T, error)) func(context.Context) error {
	if f == nil {
		return nil // Expect says what it wants
	}
	return func(ctx context.Context) error {
		_, err := f(ctx)
		return err
	}
}

// operation brings both forms of op into one, and reports whether it takes a context.
func operation[F Operation](op F) (do func(context.Context) error, cancelable bool, err error) {
	switch f := any(op).(type) {
	case func(context.Context) error:
		if f != nil {
			return f, true, nil
		}
	case func() error:
		if f != nil {
			return func(context.Context) error { return f() }, false, nil
		}
	}
	return nil, false, errors.New("op is nil; want a function to run, such as client.Ping")
}

// Check judges a result without a test. It returns nil, or an error that says in one line what
// differs. For a Result of [Measure] only slack makes up for a busy machine, since no timer ran
// beside it.
func (w Window) Check(r Result) error {
	if err := w.check(); err != nil {
		return err
	}
	if exited(r.Err) { // which is no outcome, whatever is wanted
		return fmt.Errorf("%s: %s, want %s", r.subject(), r.ending(), w.what())
	}
	if w.outcome == Blocked {
		return w.checkBlocked(r)
	}
	r, ok := w.choose(r)
	slack, _ := w.allowed()
	switch latest := sum(r.blocked, w.max, r.late, slack); {
	case !ok:
		return fmt.Errorf("%s: %s, want %s", r.subject(), r.ending(), w.what())
	case w.phase != "" && r.Phase != w.phase:
		return fmt.Errorf("%s: %s, want it in %s", r.Phase, w.met(r), w.phase)
	case r.Elapsed < w.earliest():
		return fmt.Errorf("%s: %s %s too early", r.subject(), w.met(r), digits(w.earliest()-r.Elapsed))
	case w.bounded && r.Elapsed > latest:
		return fmt.Errorf("%s: %s %s too late", r.subject(), w.met(r), digits(r.Elapsed-latest))
	}
	return nil
}

func (w Window) checkBlocked(r Result) error {
	switch {
	case r.Elapsed < w.min:
		return fmt.Errorf("%s: %s after %s, want it %s after %s", r.subject(), r.ending(), digits(r.Elapsed), w.what(), digits(w.min))
	case r.Outcome == Blocked && w.phase != "" && r.Phase == unknownPhase && w.phase != unknownPhase:
		return fmt.Errorf("%s: %s, and its stack does not show whether in %s: it waits for another goroutine; want it without In",
			r.Phase, r.ending(), w.phase)
	case r.Outcome == Blocked && w.phase != "" && r.Phase != w.phase:
		return fmt.Errorf("%s: %s, want it in %s", r.Phase, r.ending(), w.phase)
	case r.Outcome == Blocked && !r.unblocked:
		return fmt.Errorf("%s: still blocked after its context was cancelled and the fixture closed", r.Phase)
	}
	return nil
}

// met names the outcome that is the one wanted, be it at the wrong time.
func (w Window) met(r Result) string {
	if w.target != nil {
		return w.what()
	}
	return r.ending()
}

// choose puts the class that is wanted in front, and reports whether there is one.
func (w Window) choose(r Result) (Result, bool) {
	if w.target != nil {
		if r.Outcome == Blocked || !matches(r.Err, w.target) {
			return r, false
		}
		if w.phase != "" {
			r.Phase = phaseOfMatch(r, w)
		}
		return r, true
	}
	best := -1
	for i, c := range r.Classes {
		if w.outcome.covers(c.Outcome) && (best < 0 || c.Phase == w.phase) {
			best = i
		}
	}
	if best < 0 || r.Outcome == Blocked {
		return r, false
	}
	r.Outcome, r.Phase = r.Classes[best].Outcome, r.Classes[best].Phase
	return r, true
}

// phaseOfMatch is the phase of an error that matches, the one that is wanted if several do. If they
// tell none it is that of the errors beside them.
func phaseOfMatch(r Result, w Window) string {
	phases := matchPhases(r.Err, w.target)
	switch {
	case len(phases) == 0:
		return r.Phase
	case slices.Contains(phases, w.phase):
		return w.phase
	}
	return phases[0]
}

// An opContext is what an operation gets. It sees when contexts that the operation makes of it end:
// package context has a parent of another package cancel a child by its method AfterFunc, and takes
// that back when the child has ended by itself.
type opContext struct {
	context.Context

	once sync.Once
	done chan struct{} // not that of Context, from which package context would make children directly

	mu    sync.Mutex
	ended []time.Time // when children ended by themselves
}

// keepEnded is how many ends of children are remembered, the latest.
const keepEnded = 16

// Done implements [context.Context].
func (c *opContext) Done() <-chan struct{} {
	c.once.Do(func() {
		c.done = make(chan struct{})
		context.AfterFunc(c.Context, func() { close(c.done) })
	})
	return c.done
}

// AfterFunc is what package context calls to cancel a child.
func (c *opContext) AfterFunc(f func()) (stop func() bool) {
	undo := context.AfterFunc(c.Context, f)
	if madeByADial() {
		return undo
	}
	return func() bool {
		first := undo()
		if first {
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.ended) == keepEnded {
				c.ended = c.ended[1:]
			}
			c.ended = append(c.ended, time.Now())
		}
		return first
	}
}

// madeByADial reports whether the child is of package net, which makes some for each dial or lookup
// and ends them with it: that asks nothing of the client. A connect has one if the kernel takes
// time for it, as on a busy machine.
func madeByADial() bool {
	var at [6]uintptr
	frames := runtime.CallersFrames(at[:runtime.Callers(3, at[:])])
	for more := true; more; {
		var f runtime.Frame
		if f, more = frames.Next(); strings.HasPrefix(f.Function, "net.") {
			return true
		}
	}
	return false
}

// endedBetween returns when, since start, the first of the children ended that did so in that time;
// 0 if none did.
func (c *opContext) endedBetween(start time.Time, from, to time.Duration) time.Duration {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.ended {
		if d := at.Sub(start); d >= from && d <= to {
			return d
		}
	}
	return 0
}
