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
	"example.com/go-sockettest/internal/reference"
	"example.com/go-sockettest/network"
)

// ExpectEnd fails the test with a report, without stopping it, if the server under test does not
// end the attack's connections as want says: by FIN ([Closed]), by RST ([ResetByPeer]), by either
// ([Disconnected]), or not within d ([Blocked].For(d)). Every connection must meet the want, in a
// time that begins just before it was dialled.
//
// A FIN may be a close or a half-close, and both are an end here: a server that lingers, such as
// net/http's, rightly half-closes first. While the attack runs, [Watch.Find] shows whether the
// server has closed its socket.
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

// ExpectConnEnd fails the test with a report, without stopping it, if the client under test does
// not end the nth connection of a fixture, counted from 1, as want says: by FIN ([Closed]), by RST
// ([ResetByPeer]), by either ([Disconnected]), or not within d ([Blocked].For(d)).
//
//	sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), client.Ping)
//	sockettest.ExpectConnEnd(t, ep, 1, sockettest.Closed.Before(100*time.Millisecond)) // of that error
//
// The time counts from when the latest operation of an [Expect] at the fixture returned or, if the
// connection was accepted later, from then. An end that came before counts as at once. A FIN may be
// a close or a half-close; [Watch.Find] shows which.
//
// A connection that the fixture has ended itself, so that nobody sees what the client does, fails
// every want. A disarmed run does not judge connections.
func ExpectConnEnd(t testing.TB, ep *fixtures.Endpoint, n int, want Want) Result {
	if argument.IsNil(t) {
		return refuse(errNilTB("ExpectConnEnd"))
	}
	t.Helper()
	w, c, err := endableConn(t, ep, n, want)
	if err != nil {
		t.Errorf("bad argument: sockettest.ExpectConnEnd: %v", err)
		return refuse(err)
	}
	from := max(c.Opened(), usageOf(t, ep).lastReturn().Sub(ep.Started()))
	r := awaitConnEnd(t, ep, c, w, from)
	if err = w.Check(r); err != nil && !(disarm.On() && ep.Disarmed()) {
		t.Errorf("%s", failureOf(err, w, r, ep, from).report(t))
	}
	return r
}

// endableConn finds the connection, and the wants that no end of one can meet.
func endableConn(t testing.TB, ep *fixtures.Endpoint, n int, want Want) (Window, *fixtures.Conn, error) {
	if ep == nil || ep.Started().IsZero() {
		return Window{}, nil, errors.New("ep was never started; want the Endpoint that Start returned")
	}
	w, err := expectable(t, ep, want)
	w.conn = true
	if err == nil {
		err = w.endsConn("the client")
	}
	switch {
	case err != nil:
		return w, nil, err
	case n < 1:
		return w, nil, fmt.Errorf("n is %d; want the number of a connection, from 1", n)
	}
	find := func() int { return slices.IndexFunc(ep.Conns(), func(c *fixtures.Conn) bool { return c.ID() == n }) }
	contact := ep.WatchContact()()
	for h := hopeFor(signPatience, contact.Kernel); find() < 0 && h.lasts(); { // it may be about to be accepted
	}
	i := find()
	if i < 0 {
		return w, nil, fmt.Errorf("n is %d, and %v has %s; want one of those", n, ep, plural(ep.Count(fixtures.ConnAccepted), "connection"))
	}
	return w, ep.Conns()[i], nil
}

// awaitConnEnd waits until a connection has ended, or is too late, and measures it.
func awaitConnEnd(t testing.TB, ep *fixtures.Endpoint, c *fixtures.Conn, w Window, from time.Duration) Result {
	var ref reference.Watch
	ref.Begin(w.max)
	defer ref.End()
	began, ctx, start, end := time.Now(), liveContext(t), ep.Started().Add(from), testDeadline(t)
	for pause := signTick; ; pause = min(2*pause, lookPause) {
		r := endOfConn(ep, c, from)
		if over := r.Elapsed - w.max; w.bounded && over > 0 {
			r.late = min(over, w.excused(ref.Late(began, time.Now())))
		}
		until := start.Add(sum(w.patience(start, end), r.late))
		if r.Outcome != Blocked || r.busy.doing != "" || !time.Now().Before(until) || ctx.Err() != nil {
			return r
		}
		timer := time.NewTimer(min(pause, time.Until(until)))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// endOfConn measures a connection from a moment on.
func endOfConn(ep *fixtures.Endpoint, c *fixtures.Conn, from time.Duration) Result {
	now := time.Since(ep.Started())
	events := ep.Events() // before the look: an end of ours may hide one of theirs, which is then known
	end, at := c.PeerEnd()
	r := Result{Outcome: Blocked, Phase: "close", conn: c.ID(), unblocked: true, Elapsed: max(0, now-from)}
	switch {
	case end == fixtures.FIN:
		r.Outcome = Closed
	case end == fixtures.RST:
		r.Outcome = ResetByPeer
	default:
		for _, e := range events {
			if e.Kind == fixtures.Ended && e.Conn == c.ID() {
				at, r.busy.doing = e.At, "ended by the fixture itself, so that nobody sees what the client does"
			}
		}
	}
	if r.Outcome != Blocked || r.busy.doing != "" {
		r.Elapsed = max(0, at-from)
	}
	r.Classes = []Class{{Outcome: r.Outcome, Phase: r.Phase}}
	return r
}

// endsConn finds the wants that no end of a connection by whom can meet.
func (w Window) endsConn(whom string) error {
	switch {
	case w.target != nil:
		return fmt.Errorf("want is %s: the end of a connection is no error of the code under test; want Closed, ResetByPeer, Disconnected or Blocked.For(d)", w)
	case w.phase != "":
		return fmt.Errorf("want is %q: a connection ends in no phase; want it without In", w)
	case w.letGo > 0:
		return fmt.Errorf("want is %q: a connection is not let go; want it without LetGo", w)
	case w.retry != Backoff{}:
		return fmt.Errorf("want is %q: a connection has one end, and no attempts; want it without Retrying", w)
	case w.outcome != Blocked && !Disconnected.covers(w.outcome):
		return fmt.Errorf("want is %q: %s ends a connection by FIN or RST; want Closed, ResetByPeer, Disconnected or Blocked.For(d)", w, whom)
	}
	return nil
}
