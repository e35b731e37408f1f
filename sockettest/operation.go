package sockettest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/reference"
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
	Then    *Result       // of Blocked: how it ended when it was let go, counted from then; nil if it did not return
	Note    string        // "contact not visible: ..." where Expect cannot see whether the fixture was reached; else empty

	late      time.Duration      // how much of a delay the machine excuses
	blocked   time.Duration      // of ExpectEnd: since its start, when the other side was blocked, from which late counts
	stack     []string           // where the operation was blocked; of ExpectEnd, as it is shown
	state     string             // of its goroutine there, as the runtime calls it
	sockets   []fixtures.Sockets // of its endpoint's connections at that moment
	events    []fixtures.Event   // and its timeline
	busy      busy               // what it was about instead of waiting
	ctxEnded  time.Duration      // when a context of its own ended; 0 if that was not seen
	unblocked bool               // after it was given up, the operation returned
	release   string             // how it was made to
	letGo     bool               // by what was wanted for that
	closed    *closing           // its fixture's, before it ended, for another operation
	conn      int                // of ExpectEnd: the number of the connection; else 0
	reach     reach              // of Expect: whether it reached the fixture
	attempts  []fixtures.Attempt // of Retrying: since its start
	shaken    time.Duration      // of Retrying: how much the machine was late in all that time
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

// A run is one operation that goes on in a goroutine of its own, beside the reference timer.
type run struct {
	start  time.Time
	want   Window
	of     operator
	ref    reference.Watch
	cancel context.CancelFunc
	done   chan struct{} // of capacity 1: the operation's goroutine never waits
	ending ending        // set when done is sent to

	howReleased string
	ctx         *opContext // what it got; nil if it takes none
	cancelable  bool       // the operation takes a context
	released    error      // what it returned after it was given up
	letGo       bool       // by what was wanted for that
}

// An ending is what the operation's goroutine leaves.
type ending struct {
	elapsed time.Duration
	late    time.Duration // how much of a delay the machine excuses
	shaken  time.Duration // of Retrying: how much it was late in all that time
	err     error
	closed  *closing // the fixture's, for another operation, before this one ended
}

// begin takes the time before anything that could start the other side's clock.
func begin(ctx context.Context, w Window, op func(context.Context) error, cancelable bool, of operator) *run {
	r := &run{want: w, of: of, done: make(chan struct{}, 1), cancelable: cancelable}
	ctx, r.cancel = context.WithCancel(ctx)
	if cancelable {
		r.ctx = &opContext{Context: ctx}
		ctx, r.cancel = r.ctx, r.ctx.canceler(r.cancel)
	}
	if w.bounded || w.retry != (Backoff{}) {
		r.ref.Begin(w.max)
	}
	operations.Store(r, nil)
	r.start = time.Now()
	go r.call(ctx, op)
	return r
}

// call also reports a panic and runtime.Goexit: a t.FailNow inside must not look like a hang.
func (r *run) call(ctx context.Context, op func(context.Context) error) {
	end := ending{err: errExited}
	defer func() {
		if v := recover(); v != nil {
			end.err = &panicError{value: v, stack: string(debug.Stack())}
		}
		if end.elapsed == 0 {
			end.elapsed = time.Since(r.start)
		}
		end.late, end.shaken = r.late(end.elapsed), r.shaken(end.elapsed)
		end.closed = r.closedBefore(end.elapsed)
		operations.Delete(r)
		r.ending = end
		r.done <- struct{}{}
	}()
	err := op(ctx)
	end.elapsed = time.Since(r.start)
	end.err = err
}

// closedBefore returns why the fixture was closed before the operation ended.
func (r *run) closedBefore(elapsed time.Duration) *closing {
	if c := r.of.usage.closedFor(r); c != nil && !c.at.After(r.start.Add(elapsed)) {
		return c
	}
	return nil
}

// late is how much later than its window the operation may be because of the machine.
func (r *run) late(elapsed time.Duration) time.Duration {
	if elapsed <= r.want.max {
		return 0
	}
	return r.want.excused(r.ref.Late(r.start, r.start.Add(elapsed)))
}

// shaken is how much the machine was late while the operation ran, if pauses are judged.
func (r *run) shaken(elapsed time.Duration) time.Duration {
	if r.want.retry == (Backoff{}) {
		return 0
	}
	return r.want.excused(r.ref.Late(r.start, r.start.Add(elapsed)))
}

// end frees what the run holds.
func (r *run) end() {
	r.cancel()
	r.ref.End()
}

// await waits for the operation, up to the end of patience; then it releases it.
func (r *run) await(w Window, ep Running, look func() fixtures.Contact, end time.Time) Result {
	runtime.Gosched() // an operation that returns at once has by now, and needs no timer
	select {
	case <-r.done:
		return r.result()
	default:
	}
	for patience := w.patience(r.start, end); ; {
		limit := time.NewTimer(time.Until(r.start.Add(patience)))
		select {
		case <-r.done:
			limit.Stop()
			return r.result()
		case <-limit.C:
		}
		select {
		case <-r.done: // both were ready
			return r.result()
		default:
		}
		more := sum(w.patience(r.start, end), r.late(time.Since(r.start)))
		if w.outcome == Blocked || more <= patience || !end.IsZero() && r.start.Add(more).After(end) {
			break // else the machine was late meanwhile, and so may the operation be
		}
		patience = more
	}
	return r.giveUp(w, ep, look, end)
}

// giveUp notes what the operation is about, and releases it.
func (r *run) giveUp(w Window, ep Running, look func() fixtures.Contact, end time.Time) Result {
	elapsed := time.Since(r.start)
	stack, state, id := r.stack()
	res := Result{Outcome: Blocked, Elapsed: elapsed, late: r.late(elapsed), stack: stack, state: state, closed: r.closedBefore(elapsed)}
	if res.shaken = r.shaken(elapsed); w.retry != (Backoff{}) {
		res.attempts = w.attemptsOf(ep, r.start)
	}
	res.sockets, res.events = standing(ep) // before the release, which ends them
	res.reach = w.reachOf(nil, look, end)
	res.Phase = phaseOfStack(res.stack)
	res.Classes = []Class{{Outcome: Blocked, Phase: res.Phase}}
	res.ctxEnded = r.contextEnded(elapsed)
	res.busy = busyWith(ep, res, r.start.Sub(ep.Started()))
	from := time.Since(r.start)
	if res.unblocked = r.release(ep, elapsed, end); !res.unblocked {
		leftBehind.Store(id, nil)
	} else {
		then := r.result()
		then.Elapsed -= from
		res.Then = &then
	}
	res.release, res.letGo = r.howReleased, r.letGo
	if exited(r.released) {
		res.Err = r.released
	}
	return res
}

// standing returns the sockets and the timeline as they are at one moment: between two looks a
// kernel may send a SYN again.
func standing(ep Running) (s []fixtures.Sockets, events []fixtures.Event) {
	s, events = socketsOf(ep), timelineOf(ep)
	for hung, sent := synsOf(s); hung > 0; events = timelineOf(ep) {
		before := sent
		s = socketsOf(ep)
		if hung, sent = synsOf(s); sent == before {
			break
		}
	}
	return s, events
}

// patience goes well beyond the window, so that an operation that is merely late is reported with
// its time.
func (w Window) patience(start, end time.Time) time.Duration {
	p := w.max
	switch slack, _ := w.allowed(); {
	case w.outcome == Blocked:
	case !w.bounded:
		p = time.Minute
	default:
		p = sum(p, slack, max(time.Second, w.max/2))
	}
	if !end.IsZero() {
		p = min(p, end.Sub(start))
	}
	return max(p, 0)
}

// release makes the operation return: by its context, then by closing the fixture. A dialer that
// ignores every context is refused when it next retransmits its SYN: within 1 s at first, later
// after as long as it has been waiting. Past end, which is the time for the report, it takes little
// of what is left.
func (r *run) release(ep Running, elapsed time.Duration, end time.Time) bool {
	if r.want.letGo > 0 {
		if r.released, r.letGo = nil, r.releaseBy(ep, elapsed, end); r.letGo {
			return true
		}
		defer func(how string) { r.howReleased = how + "; then " + r.howReleased }(r.howReleased)
	}
	r.cancel()
	begun := time.Now()
	if r.returns(contextGrace, end, r.lateSince) {
		r.howReleased = "it returned " + digits(time.Since(begun)) + " after its context was cancelled"
		return true
	}
	r.howReleased = "its context was cancelled, and it did not obey that for " + digits(time.Since(begun))
	if !r.cancelable {
		r.howReleased = "it takes no context"
	}
	hit := r.of.usage.close(ep, r)
	begun = time.Now()
	if r.returns(sum(2*time.Second, elapsed), end, r.lateSince) {
		r.howReleased += "; it returned " + digits(time.Since(begun)) + " after the fixture was closed" + hit
		return true
	}
	r.howReleased += "; it did not return either when the fixture was closed: its goroutine is left behind" + hit
	return false
}

// grace is how much of d there is to wait before end or, past it, a quarter of what is left of the
// test's own time.
func grace(d time.Duration, end time.Time) time.Duration {
	if end.IsZero() {
		return d
	}
	left := time.Until(end)
	return min(d, max(left, (left+reportReserve)/4))
}

// returns waits for the operation, and for what the machine was late meanwhile as well.
func (r *run) returns(within time.Duration, end time.Time, late func(since time.Time) time.Duration) bool {
	begun := time.Now()
	for left := grace(within, end); left > 0; {
		limit := time.NewTimer(left)
		select {
		case <-r.done:
			limit.Stop()
			r.released = r.ending.err
			return true
		case <-limit.C:
		}
		left = sum(within, late(begun)) - time.Since(begun)
		if !end.IsZero() {
			left = min(left, time.Until(end))
		}
	}
	return false
}

// lateSince is how much the machine excuses of a wait that goes on.
func (r *run) lateSince(begun time.Time) time.Duration {
	return r.want.excused(r.ref.Late(begun, time.Now()))
}

// contextEnded is when a context ended that the operation had made of its own, if it was wanted to
// end then; else 0.
func (r *run) contextEnded(elapsed time.Duration) time.Duration {
	if !r.want.bounded {
		return 0
	}
	return r.ctx.endedBetween(r.start, max(1, r.want.earliest(), r.want.max/2), elapsed)
}

// exited reports whether an operation did not return by itself: it panicked, or called
// runtime.Goexit.
func exited(err error) bool {
	_, panicked := err.(*panicError)
	return panicked || err == errExited
}

// result classifies the ending.
func (r *run) result() Result {
	e := r.ending
	res := Result{Elapsed: e.elapsed, Err: e.err, Classes: Classify(e.err), late: e.late, shaken: e.shaken, ctxEnded: r.contextEnded(e.elapsed), closed: e.closed}
	res.Outcome, res.Phase = res.Classes[0].Outcome, res.Classes[0].Phase
	return res
}

// An opContext is what an operation gets. It sees when contexts that the operation makes of it end:
// package context has a parent of another package cancel a child by its method AfterFunc, and takes
// that back when the child has ended by itself.
type opContext struct {
	context.Context

	once sync.Once
	done chan struct{} // not that of Context, from which package context would make children directly

	mu    sync.Mutex
	apart func() bool // done is no longer closed by a goroutine once Context has ended; nil if it never was
	ended []time.Time // when children ended by themselves
}

// keepEnded is how many ends of children are remembered, the latest.
const keepEnded = 16

// Done implements [context.Context].
func (c *opContext) Done() <-chan struct{} {
	c.once.Do(func() {
		c.done = make(chan struct{})
		apart := context.AfterFunc(c.Context, func() { close(c.done) })
		c.mu.Lock()
		defer c.mu.Unlock()
		c.apart = apart
	})
	return c.done
}

// canceler returns cancel, which is Context's, without the goroutine that done would take.
func (c *opContext) canceler(cancel context.CancelFunc) context.CancelFunc {
	return func() {
		c.mu.Lock()
		apart := c.apart
		c.mu.Unlock()
		ours := apart != nil && apart()
		if cancel(); ours {
			close(c.done)
		}
	}
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
