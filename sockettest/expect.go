package sockettest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
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

// A Group is several running fixtures as one, for an [Expect] of a client that knows the addresses
// of all of them. [Together] makes it. The zero Group has none.
type Group struct{ parts []Running }

// Together makes one of fixtures that run, such as a primary and its replica:
//
//	down := sockettest.Start(t, fixtures.BlackHole{})
//	up := sockettest.Start(t, fixtures.Echo{})
//	sockettest.Expect(t, sockettest.Together(t, down, up), sockettest.Accepted.After(limit), client.Ping)
//
// The operation has to reach one of them; [fixtures.Endpoint.Count] shows which it has reached. A
// success proves something once every fault has come, of the fixtures that have one. The report has
// one timeline of all, in which the fixtures are called ep1, ep2 and so on, in this order. If an
// operation does not return when its context is cancelled, all of them are closed.
func Together(t testing.TB, parts ...Running) *Group {
	if argument.IsNil(t) {
		_ = errNilTB("Together")
		return &Group{}
	}
	t.Helper()
	g := &Group{parts: slices.Clone(parts)}
	if err := g.check(); err != nil {
		t.Fatalf("bad argument: sockettest.Together: %v", err)
	}
	t.Cleanup(func() { checkFired(t, g) })
	return g
}

func (g *Group) check() error {
	if len(g.parts) < 2 {
		return fmt.Errorf("there are %d fixtures; want two or more", len(g.parts))
	}
	for i, p := range g.parts {
		if argument.IsNil(p) {
			return fmt.Errorf("fixture %d is nil; want what Start returned", i+1)
		}
		switch p.(type) {
		case *Group:
			return fmt.Errorf("fixture %d is a Group; want its fixtures themselves", i+1)
		case *hostile.Attack, *fixtures.Listener:
			return fmt.Errorf("fixture %d is %v; want fixtures that a client dials", i+1, p)
		}
		if isKey(p) && slices.Contains(g.parts[:i], p) {
			return fmt.Errorf("fixture %d is there twice: %v; want each once", i+1, p)
		}
	}
	return nil
}

// Started returns the moment from which events are timed: the first start.
func (g *Group) Started() (at time.Time) {
	for _, p := range g.parts {
		if s := p.Started(); at.IsZero() || s.Before(at) {
			at = s
		}
	}
	return at
}

// Events returns what all have seen and done so far, in order. Each note begins with the fixture.
func (g *Group) Events() []fixtures.Event { return g.merged(Running.Events) }

// Timeline returns the events with what passed between them, as far as the fixtures tell.
func (g *Group) Timeline() []fixtures.Event { return g.merged(timelineOf) }

func (g *Group) merged(events func(Running) []fixtures.Event) (all []fixtures.Event) {
	start := g.Started()
	for i, p := range g.parts {
		for _, e := range events(p) {
			e.At += p.Started().Sub(start)
			e.Note = partName(i) + e.Note
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b fixtures.Event) int { return cmp.Compare(a.At, b.At) })
	return all
}

// partName is what a timeline calls a fixture, with a space.
func partName(i int) string { return fmt.Sprintf("ep%d ", i+1) }

// Attempts returns when clients connected to any of the fixtures, in order; see
// [fixtures.Endpoint.Attempts].
func (g *Group) Attempts() (all []fixtures.Attempt, err error) {
	var errs []error
	for _, p := range g.parts {
		c, ok := p.(counting)
		if !ok {
			errs = append(errs, fmt.Errorf("%v counts no connects; want an Endpoint or DualEndpoint", p))
			continue
		}
		list, err := c.Attempts()
		for _, a := range list {
			a.At += p.Started().Sub(g.Started())
			all = append(all, a)
		}
		errs = append(errs, err)
	}
	slices.SortStableFunc(all, func(a, b fixtures.Attempt) int { return cmp.Compare(a.At, b.At) })
	return all, errors.Join(errs...)
}

// Rule is empty: each fixture has its own.
func (g *Group) Rule() string { return "" }

// String writes the fixtures, with what a timeline calls them.
func (g *Group) String() string {
	var list []string
	for i, p := range g.parts {
		list = append(list, partName(i)+p.String())
	}
	return strings.Join(list, ", ")
}

// WatchContact begins to look for the code under test at all of them.
func (g *Group) WatchContact() func() fixtures.Contact {
	var looks []func() fixtures.Contact
	for _, p := range g.parts {
		looks = append(looks, p.WatchContact())
	}
	return func() (all fixtures.Contact) {
		for i, look := range looks {
			if s := look(); i == 0 {
				all = s
			} else {
				all = all.And(s)
			}
		}
		return all
	}
}

// Fired reports whether every fault has come, of the fixtures that have one.
func (g *Group) Fired() bool { return g.each(misbehaving.Fired) }

// Disarmed reports whether this is a disarmed run and all of them behave.
func (g *Group) Disarmed() bool { return g.each(misbehaving.Disarmed) }

func (g *Group) each(is func(misbehaving) bool) bool {
	return !slices.ContainsFunc(g.parts, func(p Running) bool { f, ok := p.(misbehaving); return ok && !is(f) })
}

// Close closes them all.
func (g *Group) Close() error {
	var errs []error
	for _, p := range g.parts {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
