package sockettest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/reference"
)

// ExpectConnEnd fails the test with a report, without stopping it, if the client under test does
// not end the nth connection of a fixture, counted from 1, as want says: by FIN ([Closed]), by RST
// ([ResetByPeer]), by either ([Disconnected]), or not within d ([Blocked].For(d)).
//
//	sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), client.Ping)
//	sockettest.ExpectConnEnd(t, ep, 1, sockettest.Closed.Before(100*time.Millisecond)) // of that error
//
// The time counts from the return of the latest operation of an [Expect] at the fixture or, if the
// connection is younger, from when it was accepted. What ended before comes at once. A FIN may be a
// close or a half-close; [Watch.Find] shows which.
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
	switch err = w.Check(r); {
	case err == nil || disarm.On() && ep.Disarmed():
	default:
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
