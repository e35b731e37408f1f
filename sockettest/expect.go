package sockettest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
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
	if err == nil {
		err = w.releasable(ep, cancelable)
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
	u.returned(r.start.Add(res.Elapsed))
	if err = w.judge(&res, ep, look, r.start); err != nil || disarm.On() { // else there is nothing to report, and Helper is not free
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
func (w Window) judge(res *Result, ep Running, look func() fixtures.Contact, start time.Time) error {
	*res, _ = w.choose(*res)
	if w.retry != (Backoff{}) && res.attempts == nil {
		res.attempts = w.attemptsOf(ep, start)
	}
	err := w.Check(*res)
	if !disarm.On() || w.restsOnContact(ep) {
		if rerr := w.judgeReach(res, look); err == nil {
			err = rerr
		} else {
			res.reach.lookAgain(look)
		}
	}
	if w.retry != (Backoff{}) {
		if rerr := w.judgeRetries(res, ep, start); err == nil {
			err = rerr
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
	if g, ok := ep.(*Group); ok && len(g.parts) == 0 {
		return Window{}, errors.New("ep is a Group of nothing; want what Together returned")
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
	if w.retry != (Backoff{}) {
		var err error
		if w.tried, err = countable(ep); err != nil {
			return w, err
		}
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

// ExpectEnd fails the test with a report, without stopping it, if the server under test does not
// end the attack's connections as want says: by FIN ([Closed]), by RST ([ResetByPeer]), by either
// ([Disconnected]), or not within d ([Blocked].For(d)). Every connection must meet the want, in a
// time that begins just before it was dialled.
//
// A FIN may be a close or a half-close, and both are an end here: a server that lingers, such as
// net/http's, rightly half-closes first. Whether it closes its socket in the end, [Watch.Find]
// tells while the attack runs.
//
// A connection that the server has not accepted fails every want, even if the kernel has reset it,
// as it does when the listener is closed. This is detected on Linux and simnet, for connections
// that were open when ExpectEnd was called.
//
// A server may rightly go on for a while, such as one that answers a [hostile.NeverRead] whose
// window is not full yet. It is late, or still open for d, only from the moment when it could not
// go on: see [fixtures.Conn.JudgedFrom].
//
// ExpectEnd waits until every connection has ended or is too late. It returns the measurement of
// the connection that fails worst or, if none fails, of the last to end. In that Result Err is nil,
// and Classes has one entry. Delays of a busy machine count over the life of each connection: see
// [Window.Slack]. ExpectEnd may be called from any goroutine, and in a cleanup.
//
// A failure reads:
//
//	connection #1: still open, want disconnected
//	  want     disconnected after 300ms, no later than 550ms
//	  got      still open, after 1.55s
//	  ...
func ExpectEnd(t testing.TB, a *hostile.Attack, want Want) Result {
	if argument.IsNil(t) {
		return refuse(errNilTB("ExpectEnd"))
	}
	t.Helper()
	var w Window
	err := errors.New("attack is nil; want the Attack that Start returned")
	if a != nil {
		w, err = endable(t, a, want)
	}
	if err != nil {
		t.Errorf("bad argument: sockettest.ExpectEnd: %v", err)
		return refuse(err)
	}
	ctx := liveContext(t)
	q := queueOf(a)
	awaitVerdict(ctx, a, w, q, testDeadline(t))
	v := verdictOf(a, w, q.left(ctx, a))
	if v.err != nil && v.result.Outcome == Blocked {
		v.result.stack = serverStack()
	}
	if proved(t, a, w, v.err) {
		return v.result
	}
	if c := usageOf(t, a).closedFor(nil); c != nil && v.err != nil {
		t.Errorf("%s", reportOf(t, c, w, v.result, a, a.Started()))
		return v.result
	}
	if v.err != nil {
		t.Errorf("%s", v.failure(a, w).report(t))
	}
	return v.result
}

// A queue has the connections that no program was seen to accept, and whether each was seen to wait
// for that: the kernel tells only as long as the connection is open.
type queue map[*fixtures.Conn]bool

func queueOf(a *hostile.Attack) queue {
	q := queue{}
	for _, c := range a.Conns() {
		q[c] = false
	}
	q.look()
	return q
}

// lookPause is how long such a connection is left alone at most.
const lookPause = 100 * time.Millisecond

// look asks again, and reports whether a connection still waits.
func (q queue) look() bool {
	waits := false
	for c := range q {
		received, _ := c.Bytes()
		end, _ := c.PeerEnd()
		info, _ := c.Info()
		switch other := info.Other; {
		case received > 0, end == fixtures.FIN, other != nil && !other.Queued && other.State != "SYN-RECEIVED":
			delete(q, c)
		case other != nil && end == fixtures.Open:
			q[c], waits = true, true
		}
	}
	return waits
}

// left returns the connections that no program has accepted, as far as that is shown. A server that
// has had no turn yet, on a busy machine, gets one. Of what a server has reset at once, only the
// end of its listener tells that it was the kernel.
func (q queue) left(ctx context.Context, a *hostile.Attack) queue {
	if disarm.On() {
		return nil
	}
	contact := a.WatchContact()()
	for limit := signPatience; q.look() && limit > 0; {
		limit -= pauseForSigns(contact.Kernel)
	}
	gone := sync.OnceValue(func() bool { return refuses(ctx, a.Stack(), contact.Addrs[0]) })
	for c, waited := range q {
		if !waited || !open(c) && !gone() {
			delete(q, c)
		}
	}
	return q
}

// refuses reports whether nobody listens at an address.
func refuses(ctx context.Context, on network.Stack, addr string) bool {
	ctx, cancel := patience.Context(ctx, signPatience)
	defer cancel()
	c, err := on.Connect(ctx, "tcp", addr, network.ConnectOptions{})
	if err == nil {
		_ = c.Close()
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && rawsock.FaultOf(errno) == rawsock.Refused
}

// missed is what is wrong with a server that cannot end what it does not know of.
func (q queue) missed(all int) error {
	ended, have := "wait in its accept queue", "none of the attack's connections: they"
	if n := all - len(q); n > 0 {
		have = fmt.Sprintf("%d of the attack's %d connections: the others", n, all)
	}
	for c := range q {
		if !open(c) {
			ended = "waited in its accept queue until the listener was closed, which resets them"
		}
	}
	return fmt.Errorf("the server has accepted %s %s", have, ended)
}

// endable finds the wants that no end of a connection can meet, and the attacks that have none.
func endable(t testing.TB, a *hostile.Attack, want Want) (Window, error) {
	w, err := expectable(t, a, want)
	w.conn = true
	if err == nil {
		err = w.endsConn("a server")
	}
	if err != nil {
		return w, err
	}
	conns := a.Conns()
	if len(conns) == 0 {
		return w, fmt.Errorf("%v has no connections; want an attack that Start has begun", a)
	}
	for _, e := range a.Events() {
		if c := e.Conn; e.Kind == fixtures.Ended && open(conns[c-1]) && !a.Disarmed() {
			if _, why := endedByItself(a, conns[c-1], 0); why != "" {
				continue // the verdict says so
			}
			return w, fmt.Errorf("%v has ended connection #%d itself; only an attack that leaves that to the server can be judged", a, c)
		}
	}
	return w, nil
}

func open(c *fixtures.Conn) bool {
	end, _ := c.PeerEnd()
	return end == fixtures.Open
}

// awaitVerdict waits until all connections have ended, or none can meet the want any more; but
// never beyond end.
func awaitVerdict(ctx context.Context, a *hostile.Attack, w Window, q queue, end time.Time) {
	for pause := signTick; ; pause = min(2*pause, lookPause) {
		until := time.Time{}
		for _, c := range a.Conns() {
			from := a.Started().Add(c.JudgedFrom())
			last := from.Add(sum(w.patience(from, end), w.excused(a.Late(c.JudgedFrom(), time.Since(a.Started())))))
			if last.After(until) {
				until = last
			}
		}
		if !end.IsZero() && until.After(end) {
			until = end
		}
		if !time.Now().Before(until) || ctx.Err() != nil { // else the machine was late meanwhile, and so may the server be
			return
		}
		if next := time.Now().Add(pause); q.look() && next.Before(until) {
			until = next
		}
		limited, cancel := context.WithDeadline(ctx, until)
		err := a.AwaitEnds(limited)
		cancel()
		if err == nil {
			return
		}
	}
}

// A verdict is what an attack's connections came to.
type verdict struct {
	result Result // of the worst of those that fail, or else of the last to end
	err    error
	opened time.Duration // of that connection
	failed int
	all    int
}

func verdictOf(a *hostile.Attack, w Window, unaccepted queue) verdict {
	var v verdict
	rank := 0
	for _, c := range a.Conns() {
		r := endOf(a, c, w)
		err := w.Check(r)
		v.all++
		if _, missed := unaccepted[c]; missed && err == nil {
			err = unaccepted.missed(len(a.Conns()))
		}
		if err != nil {
			v.failed++
		}
		if n := w.badness(r, err); v.all == 1 || n > rank || n == rank && w.distance(r) > w.distance(v.result) {
			v.result, v.err, v.opened, rank = r, err, c.Opened(), n
		}
	}
	return v
}

// endOf measures one connection from its own start.
func endOf(a *hostile.Attack, c *fixtures.Conn, w Window) Result {
	now := time.Since(a.Started())
	end, at := c.PeerEnd()
	r := Result{Outcome: Blocked, Phase: "close", conn: c.ID(), unblocked: true}
	switch end {
	case fixtures.FIN:
		r.Outcome = Closed
	case fixtures.RST:
		r.Outcome = ResetByPeer
	default:
		at, r.busy.doing = endedByItself(a, c, now)
	}
	from := c.JudgedFrom()
	r.Elapsed, r.blocked = at-c.Opened(), from-c.Opened()
	if over := r.Elapsed - r.blocked - w.max; over > 0 {
		r.late = min(over, w.excused(a.Late(from, at)))
	}
	if w.outcome == Blocked { // it is still open for that long after
		if end == fixtures.Open || foundBlocked(a, c) { // a connect is noted when it is over
			r.Elapsed -= r.blocked
		}
		r.blocked = 0
	}
	r.Classes = []Class{{Outcome: r.Outcome, Phase: r.Phase}}
	return r
}

func foundBlocked(a *hostile.Attack, c *fixtures.Conn) bool {
	return slices.ContainsFunc(a.Events(), func(e fixtures.Event) bool { return e.Kind == fixtures.PeerBlocked && e.Conn == c.ID() })
}

// endedByItself says when and why the attack has ended a connection that its server has not: what
// it was to read there did not come. Otherwise it returns now.
func endedByItself(a *hostile.Attack, c *fixtures.Conn, now time.Duration) (at time.Duration, why string) {
	for _, e := range a.Events() {
		if e.Kind == fixtures.Failed && e.Conn == c.ID() {
			return e.At, fmt.Sprintf("ended by the fixture, since %s", strings.TrimPrefix(e.Note, fmt.Sprintf("#%d ", e.Conn)))
		}
	}
	return now, ""
}

// badness orders what can be wrong: nothing, the time, the end, no end at all.
func (w Window) badness(r Result, err error) int {
	_, right := w.choose(r)
	switch {
	case err == nil:
		return 0
	case right || w.outcome == Blocked:
		return 1
	case r.Outcome != Blocked:
		return 2
	}
	return 3
}

// distance is how far a time lies outside the window or, inside it, how late it is.
func (w Window) distance(r Result) time.Duration {
	if r.Elapsed < w.earliest() {
		return w.min - r.Elapsed
	}
	return r.Elapsed - w.min
}

func (v verdict) failure(a *hostile.Attack, w Window) failure {
	f := failureOf(v.err, w, v.result, a, v.opened)
	if v.all > 1 {
		f.conns = fmt.Sprintf("%d of %d fail; #%d is the worst", v.failed, v.all, v.result.conn)
	}
	return f
}
