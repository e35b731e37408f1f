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
)

// A Group is several running fixtures as one, for an [Expect] of a client that knows the addresses
// of all of them. [Together] makes it. The zero Group is one of none.
type Group struct{ parts []Running }

// Together makes one of fixtures that run, such as a primary and its replica:
//
//	down := sockettest.Start(t, fixtures.BlackHole{})
//	up := sockettest.Start(t, fixtures.Echo{})
//	sockettest.Expect(t, sockettest.Together(t, down, up), sockettest.Accepted.After(limit), client.Ping)
//
// The operation has to reach one of them; [fixtures.Endpoint.Count] shows which it has. A success
// proves something once the fault of each has come, of those that have one. The report has one
// timeline of all, in which the fixtures are called ep1, ep2 and so on, in this order. An operation
// that is not let go by its context has them all closed.
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

// Attempts returns when clients connected to any of them, in order; see
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

// Fired reports whether the fault of each that has one has come.
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
