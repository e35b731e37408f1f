package sockettest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

const (
	// reportReserve is left before the test's own deadline, to print the report before go test kills the binary.
	reportReserve = time.Second
	// contextGrace is how long an operation has to heed its context before its fixture is closed as well.
	contextGrace = 250 * time.Millisecond
)

// Expect runs op against the fixture that Start has returned, of either side, and judges how and when it ended. If that is not what is wanted it fails the test
// with a report and goes on. It may be called from any goroutine, and returns what it measured.
//
// An operation that does not return in time is released: its context is cancelled and, if that is not enough, the
// fixture closed. A failure reads:
//
//	connect: rejected, want timed out
//	  want     timed out after 200ms, no later than 450ms
//	  got      rejected in connect, after 170µs
//	  error    *net.OpError  dial tcp 127.0.0.1:37461: connect: connection refused
//	  ...
func Expect[F Operation](t testing.TB, ep running, want Want, op F) Result {
	if isNil(t) {
		return refuse(errNilTB("Expect"))
	}
	t.Helper()
	do, err := operation(op)
	if err == nil {
		want, err = expectable(t, ep, want)
	}
	if err != nil {
		t.Errorf("bad argument: sockettest.Expect: %v", err)
		return refuse(err)
	}
	r := start(watchedContext(t), want, do)
	defer r.end()
	res := r.await(want, ep, testDeadline(t))
	res, _ = want.choose(res)
	err = want.Check(res)
	if proved(t, ep, want, err) {
		return res
	}
	if err != nil {
		t.Errorf("%s", reportOf(t, err, want, res, ep, r.start))
	}
	return res
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

// expectable finds the arguments with which there is nothing to judge, and settles what the environment says of slack.
func expectable(t testing.TB, ep running, want Want) (Want, error) {
	if isNil(ep) {
		return want, errors.New("ep is nil; want the Endpoint or Attack that Start returned")
	}
	if err := want.check(); err != nil {
		return want, err
	}
	slack, _ := want.allowed()
	want.slack, want.slackOK = slack, true
	end := testDeadline(t)
	if !end.IsZero() && time.Now().Add(want.min).After(end) {
		return want, fmt.Errorf("the window of %q begins after the test's own deadline, which is in %s; want a shorter window, or go test -timeout",
			want, digits(time.Until(end)))
	}
	return want, nil
}

// testDeadline is when the report must be out; zero if there is no limit. In a bubble there is none by its clock, and to ask
// panics.
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

// await waits for the operation, up to the end of patience; then it releases it.
func (r *run) await(w Want, ep running, end time.Time) Result {
	runtime.Gosched() // an operation that returns at once has by now, and needs no timer
	select {
	case e := <-r.done:
		return r.result(e)
	default:
	}
	for patience := w.patience(r.start, end); ; {
		limit := time.NewTimer(time.Until(r.start.Add(patience)))
		select {
		case e := <-r.done:
			limit.Stop()
			return r.result(e)
		case <-limit.C:
		}
		select {
		case e := <-r.done: // both were ready
			return r.result(e)
		default:
		}
		more := sum(w.patience(r.start, end), r.late(time.Since(r.start)))
		if w.outcome == Blocked || more <= patience || !end.IsZero() && r.start.Add(more).After(end) {
			break // else the machine was late meanwhile, and so may the operation be
		}
		patience = more
	}
	elapsed := time.Since(r.start)
	stack, id := r.stack()
	res := Result{Outcome: Blocked, Elapsed: elapsed, late: r.late(elapsed), stack: stack}
	res.ends = endsOf(ep) // before the release, which ends them
	res.Phase = phaseOfStack(res.stack)
	res.Classes = []Class{{Outcome: Blocked, Phase: res.Phase}}
	if res.unblocked = r.release(ep, elapsed, end); !res.unblocked {
		leftBehind.Store(id, nil)
	}
	return res
}

// patience goes well beyond the window, so that an operation that is merely late is reported with its time.
func (w Want) patience(start, end time.Time) time.Duration {
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

// release makes the operation return: by its context, then by closing the fixture. A dialer that heeds no context is
// refused when it next retransmits its SYN: within 1 s at first, later after as long as it has been waiting. Past end, which
// is the time for the report, it takes little of what is left.
func (r *run) release(ep running, elapsed time.Duration, end time.Time) bool {
	r.cancel()
	if r.returns(grace(contextGrace, end)) {
		return true
	}
	_ = ep.Close()
	return r.returns(grace(sum(2*time.Second, elapsed), end))
}

// grace is how much of d there is to wait before end or, past it, a quarter of what is left of the test's own time.
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
		return true
	case <-limit.C:
		return false
	}
}
