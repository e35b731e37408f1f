package sockettest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/reference"
)

const (
	// reportReserve is left before the test's own deadline, to print the report before go test
	// kills the binary.
	reportReserve = time.Second
	// contextGrace is how long an operation has to obey its context before its fixture is closed as
	// well.
	contextGrace = 250 * time.Millisecond
)

// Expect runs op, and fails the test with a report, without stopping it, if op does not end as want
// says or never reaches the fixture. ep is what [Start] returned, or the [fixtures.Listener] of an
// AcceptError. Expect returns what it measured. It may be called from any goroutine, and in a
// cleanup, where op gets a context that is not cancelled.
//
// Run one Expect at a time on a fixture. What two operations do there cannot be told apart, so the
// contact of one counts for the other. Parallel subtests each want a fixture of their own.
//
// An operation that does not return in time is released: its context is cancelled and, if that is
// not enough, the fixture closed. That ends all connections there: an Expect that runs beside it
// fails as "not judged", and a later one as a bad argument. An operation that panics or calls
// runtime.Goexit meets no want.
//
// The fixture is reached by a connect, a datagram, a query, by bytes on a connection that was open
// before, or if op's error names its address. A connection's end, or what becomes of an earlier
// connect, is no contact. If the fixture sees nothing and the error names another address, the test
// fails. If the fixture was reached, the error may name any address: a redirect, a name server's
// answer or a pool may have led op on. An operation may leave no trace, because the kernel refuses
// its connect or because it waits on an open connection: if its error names no address either,
// Expect passes and [Result].Note begins with "contact not visible". [Window.Unreached] wants that
// nothing reaches the fixture. A fixture that a test neither reaches nor uses in an Expect is
// logged when the test ends.
//
// A failure reads as follows; docs/reports.md explains it:
//
//	connect: rejected, want timed out
//	  want     timed out after 200ms, no later than 450ms
//	  got      rejected in connect, after 170µs
//	  error    *net.OpError  dial tcp 127.0.0.1:37461: connect: connection refused
//	  ...
func Expect[F Operation](t testing.TB, ep Running, want Want, op F) Result {
	if argument.IsNil(t) {
		return refuse(errNilTB("Expect"))
	}
	do, cancelable, err := operation(op)
	var w Window
	if err == nil {
		w, err = expectable(t, ep, want)
	}
	if err != nil {
		t.Helper()
		t.Errorf("bad argument: sockettest.Expect: %v", err)
		return refuse(err)
	}
	w.stale = w.isStale(ep)
	u := usageOf(t, ep)
	look := u.use(t, ep)
	r := begin(watchedContext(t), w, do, cancelable, operator{t.Name(), u})
	defer r.end()
	res := r.await(w, ep, look, testDeadline(t))
	if err = w.judge(&res, ep, look); err != nil || disarm.On() { // else there is nothing to report, and Helper is not free
		t.Helper()
	}
	if proved(t, ep, w, err) {
		return res
	}
	if err != nil {
		t.Errorf("%s", reportOf(t, err, w, res, ep, r.start))
	}
	rows.note(t.Name(), res, err != nil)
	return res
}

// judge finds fault with a result, or with what it came of.
func (w Window) judge(res *Result, ep Running, look func() fixtures.Contact) error {
	*res, _ = w.choose(*res)
	err := w.Check(*res)
	if !disarm.On() || w.restsOnContact(ep) {
		if rerr := w.judgeReach(res, look); err == nil {
			err = rerr
		} else {
			res.reach.lookAgain(look)
		}
	}
	if c := res.closed; c != nil && (err != nil || w.outcome != Blocked) { // else it was blocked for as long as wanted
		return c
	}
	return err
}

// refuse is the result of an operation that was not run.
func refuse(err error) Result {
	return Result{Outcome: Other, Phase: unknownPhase, Err: err, Classes: []Class{{Outcome: Other, Phase: unknownPhase}}}
}

// errNilTB is for calls without a test, which therefore have nothing to fail.
func errNilTB(verb string) error {
	err := fmt.Errorf("sockettest.%s: t is nil; want the test's own *testing.T", verb)
	fmt.Fprintln(os.Stderr, err)
	return err
}

// expectable finds the arguments with which there is nothing to judge, and settles the slack.
func expectable(t testing.TB, ep Running, want Want) (Window, error) {
	if outsideBubble(t) {
		return Window{}, fmt.Errorf("t is %s's, which is not of the bubble; want the t that the bubble's function got", t.Name())
	}
	if argument.IsNil(ep) {
		return Window{}, errors.New("ep is nil; want the Endpoint or Attack that Start returned")
	}
	if c := usageOf(t, ep).closedFor(nil); c != nil {
		return Window{}, errors.New(c.why())
	}
	if want == nil {
		return Window{}, errors.New("want is nil; want an outcome such as TimedOut.After(limit)")
	}
	w := want.window()
	if slack, err := w.allowed(); err == nil { // else check returns the error
		w.slack, w.slackOK = slack, true
	}
	if err := w.check(); err != nil {
		return w, err
	}
	if _, attack := ep.(*hostile.Attack); attack && w.missed {
		return w, fmt.Errorf("Unreached beside an attack, which had reached %v when Start returned; want it without Unreached", ep)
	}
	end := testDeadline(t)
	if !end.IsZero() && time.Now().Add(w.min).After(end) {
		return w, fmt.Errorf("the window of %q begins after the test's own deadline, which is in %s; want a shorter window, or go test -timeout",
			w, digits(time.Until(end)))
	}
	return w, nil
}

// outsideBubble reports whether t is used in a bubble that it is not of: to end its context would
// then end the process. Only a bubble's own T has no Deadline, and panics.
func outsideBubble(t testing.TB) (outside bool) {
	own, ok := t.(*testing.T)
	if !ok || !virtual() {
		return false
	}
	defer func() { outside = recover() == nil }()
	own.Deadline()
	return
}

// testDeadline is when the report must be out; zero if there is no limit. In a bubble there is none
// by its clock, and to ask panics.
func testDeadline(t testing.TB) time.Time {
	if virtual() {
		return time.Time{}
	}
	d, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return time.Time{}
	}
	end, ok := d.Deadline()
	if !ok {
		return time.Time{}
	}
	return end.Add(-reportReserve)
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
}

// An ending is what the operation's goroutine leaves.
type ending struct {
	elapsed time.Duration
	late    time.Duration // how much of a delay the machine excuses
	err     error
	closed  *closing // the fixture's, for another operation, before this one ended
}

// begin takes the time before anything that could start the other side's clock.
func begin(ctx context.Context, w Window, op func(context.Context) error, cancelable bool, of operator) *run {
	r := &run{want: w, of: of, done: make(chan struct{}, 1), cancelable: cancelable}
	ctx, r.cancel = context.WithCancel(ctx)
	if cancelable {
		r.ctx = &opContext{Context: ctx}
		ctx = r.ctx
	}
	if w.bounded {
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
		end.late = r.late(end.elapsed)
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
	res.sockets, res.events = standing(ep) // before the release, which ends them
	res.reach = w.reachOf(nil, look, end)
	res.Phase = phaseOfStack(res.stack)
	res.Classes = []Class{{Outcome: Blocked, Phase: res.Phase}}
	res.ctxEnded = r.contextEnded(elapsed)
	res.busy = busyWith(ep, res, r.start.Sub(ep.Started()))
	if res.unblocked = r.release(ep, elapsed, end); !res.unblocked {
		leftBehind.Store(id, nil)
	}
	res.release = r.howReleased
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
	r.cancel()
	begun := time.Now()
	if r.returns(grace(contextGrace, end)) {
		r.howReleased = "it returned " + digits(time.Since(begun)) + " after its context was cancelled"
		return true
	}
	r.howReleased = "its context was cancelled, and it did not obey that for " + digits(time.Since(begun))
	if !r.cancelable {
		r.howReleased = "it takes no context"
	}
	hit := r.of.usage.close(ep, r)
	begun = time.Now()
	if r.returns(grace(sum(2*time.Second, elapsed), end)) {
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

func (r *run) returns(within time.Duration) bool {
	limit := time.NewTimer(within)
	defer limit.Stop()
	select {
	case <-r.done:
		r.released = r.ending.err
		return true
	case <-limit.C:
		return false
	}
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
	res := Result{Elapsed: e.elapsed, Err: e.err, Classes: Classify(e.err), late: e.late, ctxEnded: r.contextEnded(e.elapsed), closed: e.closed}
	res.Outcome, res.Phase = res.Classes[0].Outcome, res.Classes[0].Phase
	return res
}
