package sockettest

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
)

// A usage is what the operations of Expect have done with one fixture.
type usage struct {
	used   atomic.Bool             // an Expect has used it
	now    atomic.Int32            // how many operations run
	closed atomic.Pointer[closing] // it was closed to make an operation return
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
	usage *usage
}

// uses holds the usage of each fixture that a test runs.
var uses sync.Map // Running to *usage

// noteUse logs, at the end of a test that did not fail, that it has neither used nor reached the
// fixture.
func noteUse(t testing.TB, ep Running) {
	u, look := new(usage), ep.WatchContact()
	uses.Store(ep, u)
	t.Cleanup(func() {
		uses.Delete(ep)
		rows.ended(t.Name())
		if u.used.Load() || t.Failed() || t.Skipped() {
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
	uses.Range(func(ep, _ any) bool {
		for _, part := range partsOf(ep.(Running)) {
			if e, ok := part.(*fixtures.Endpoint); ok && e.Stack() == Kernel && e.Addr() == addr {
				found = ep.(Running)
			}
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
// ends.
func usageOf(t testing.TB, ep Running) *usage {
	if !isKey(ep) {
		return new(usage)
	}
	if u, ok := uses.Load(ep); ok {
		return u.(*usage)
	}
	u, known := uses.LoadOrStore(ep, new(usage))
	if !known {
		t.Cleanup(func() { uses.Delete(ep) })
	}
	return u.(*usage)
}

// use begins to look what an operation does to the fixture.
func (u *usage) use(t testing.TB, ep Running) (look func() fixtures.Contact) {
	u.used.Store(true)
	return fakeDials.watch(t, ep.WatchContact())
}

// close ends the fixture to make one operation return, and says what else that has hit.
func (u *usage) close(ep Running, by *run) (hit string) {
	open, others := countOpen(ep), int(u.now.Load())-1
	u.closed.CompareAndSwap(nil, &closing{by: by, at: time.Now()})
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

// closedFor returns why the fixture was closed, unless that was for r.
func (u *usage) closedFor(r *run) *closing {
	if c := u.closed.Load(); c != nil && c.by != r {
		return c
	}
	return nil
}

func (c *closing) Error() string { return "not judged: " + c.why() }

// why is what is wrong with a fixture that several operations use.
func (c *closing) why() string {
	return fmt.Sprintf("the fixture was closed to let go an operation of %s, which did not return by its context;"+
		" want a fixture for each operation, or one that obeys its context", c.by.of.test)
}
