package sockettest

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
)

// A usage is what the operations of Expect have done with each part of a fixture that can be used,
// and closed, by itself.
type usage []*partUsage

// A partUsage belongs to one part, whichever whole it is used by.
type partUsage struct {
	of     Running                       // the whole, as Start returned it
	used   atomic.Bool                   // an Expect has used it
	closed atomic.Pointer[closing]       // it was closed to make an operation return
	let    atomic.Pointer[connectedThen] // what was connected to it then
}

// A closing is the end of a fixture for the sake of one operation. It hits all others there, and is
// the error of those that cannot be judged.
type closing struct {
	by *run
	at time.Time
}

// An operator is whose operation runs, and at what fixture.
type operator struct {
	test  string
	usage usage
}

// uses holds the usage of each part of the fixtures that a test runs.
var uses sync.Map // Running to *partUsage

// operations holds the operations that run.
var operations sync.Map // *run to nil

// noteUse logs, at the end of a test that did not fail, that it has neither used nor reached the
// fixture.
func noteUse(t testing.TB, ep Running) {
	u, look := usageOf(t, ep), ep.WatchContact()
	t.Cleanup(func() {
		rows.ended(t.Name())
		if u.used() || t.Failed() || t.Skipped() {
			return
		}
		if s := look(); !s.Came && !s.Waiting && !s.Hidden {
			t.Helper()
			t.Logf("sockettest: %v was never used in an Expect, and never reached: saw no %s", ep, s.Signs)
		}
	})
}

// runningAt returns the fixture with that address on the kernel's network, if one runs.
func runningAt(addr string) (found Running) {
	uses.Range(func(part, u any) bool {
		if e, ok := part.(*fixtures.Endpoint); ok && u.(*partUsage).closed.Load() == nil && e.Stack() == Kernel && e.Addr() == addr {
			found = u.(*partUsage).of
		}
		return found == nil
	})
	return found
}

// isKey reports whether a map can have it as a key.
func isKey(ep Running) bool {
	return reflect.TypeOf(ep).Kind() == reflect.Pointer || reflect.ValueOf(ep).Comparable()
}

// usageOf returns what is known of a fixture. What [Start] has not begun is known from now until t
// ends, and what was closed forever: others around t may use it yet.
func usageOf(t testing.TB, ep Running) (u usage) {
	for _, part := range usableOf(ep) {
		if !isKey(part) {
			return usage{new(partUsage)}
		}
		p, known := uses.Load(part)
		if !known {
			if p, known = uses.LoadOrStore(part, &partUsage{of: ep}); !known {
				t.Cleanup(func() { checkFired(t, part, ep); forget(part) })
			}
		}
		u = append(u, p.(*partUsage))
	}
	return u
}

// partUsed returns what is known of a part; nil if nothing is.
func partUsed(part Running) *partUsage {
	if !isKey(part) {
		return nil
	}
	p, _ := uses.Load(part)
	used, _ := p.(*partUsage)
	return used
}

// forget forgets a part, unless it was closed to make an operation return.
func forget(part Running) {
	if p := partUsed(part); p != nil && p.closed.Load() == nil {
		uses.Delete(part)
	}
}

// usableOf returns the parts of a fixture that an Expect can be given: most have none but
// themselves.
func usableOf(ep Running) []Running {
	switch e := ep.(type) {
	case *fixtures.DualEndpoint:
		if e.IPv4 != nil {
			return []Running{e.IPv4, e.IPv6}
		}
	case *dnsfault.Endpoint:
		if e.TCP != nil {
			return []Running{e.UDP, e.TCP}
		}
	}
	return []Running{ep}
}

// used reports whether an Expect has used a part.
func (u usage) used() bool {
	return slices.ContainsFunc(u, func(p *partUsage) bool { return p.used.Load() })
}

// use begins to look what an operation does to the fixture.
func (u usage) use(t testing.TB, ep Running) (look func() fixtures.Contact) {
	for _, p := range u {
		p.used.Store(true)
	}
	return fakeDials.watch(t, ep.WatchContact())
}

// othersThan counts the operations at any of the parts, without r.
func (u usage) othersThan(r *run) (n int) {
	operations.Range(func(key, _ any) bool {
		other := key.(*run)
		shares := func(p *partUsage) bool { return slices.Contains(other.of.usage, p) }
		if other != r && slices.ContainsFunc(u, shares) {
			n++
		}
		return true
	})
	return n
}

// close ends the fixture to make one operation return, and says what else that has hit.
func (u usage) close(ep Running, by *run) (hit string) {
	open, others := countOpen(ep), u.othersThan(by)
	end := &closing{by: by, at: time.Now()}
	for _, p := range u {
		p.closed.CompareAndSwap(nil, end)
	}
	letGo(ep)
	_ = ep.Close()
	var parts []string
	if open > 1 {
		parts = append(parts, fmt.Sprintf("ended all its %d connections", open))
	}
	if others > 0 {
		parts = append(parts, "hit "+plural(others, "other operation"))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; that " + strings.Join(parts, " and ")
}

// countOpen returns how many connections neither side has ended.
func countOpen(ep Running) (n int) {
	for _, part := range partsOf(ep) {
		if part == nil {
			continue
		}
		for _, c := range part.Conns() {
			if _, err := c.Info(); open(c) && !errors.Is(err, net.ErrClosed) {
				n++
			}
		}
	}
	return n
}

// closedFor returns why a part was closed first, unless that was for r.
func (u usage) closedFor(r *run) (first *closing) {
	for _, p := range u {
		if c := p.closed.Load(); c != nil && c.by != r && (first == nil || c.at.Before(first.at)) {
			first = c
		}
	}
	return first
}

func (c *closing) Error() string { return "not judged: " + c.why() }

// why is what is wrong with a fixture that several operations use.
func (c *closing) why() string {
	return fmt.Sprintf("the fixture was closed to let go an operation of %s, which did not return by its context;"+
		" want a fixture for each operation, or one that obeys its context", c.by.of.test)
}
