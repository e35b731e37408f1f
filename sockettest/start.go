package sockettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/intercept"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

// An Option says where [Start] puts a fixture.
type Option func(*fixtures.Place)

// On puts the fixture on network s, such as a simnet. Nil means the default: [Kernel], or the
// network that [simnet.Network.Intercept] has put in force here.
func On(s network.Stack) Option { return func(w *fixtures.Place) { w.Stack = s } }

// Family chooses the protocol and the IP version: "tcp" (the default), "tcp4", "tcp6" or "unix";
// for datagrams "udp", "udp4" or "udp6"; for a name server "ip", "ip4" or "ip6". Without a version
// it is IPv4, unless Address is IPv6.
func Family(name string) Option { return func(w *fixtures.Place) { w.Family = name } }

// Address chooses one loopback address, such as "127.0.0.1:1717" or, with Family("unix"), a path.
// The default is a free port, or a new file in a directory of its own.
func Address(addr string) Option { return func(w *fixtures.Place) { w.Address = addr } }

// A Fixture is anything with a method Plan: a struct of package fixtures or of a package below it,
// or a type of your own. P is one of the Plan types that [Starter] names.
type Fixture[P any] interface {
	// Plan checks the fixture's fields and says what is to run. An error names the field, its value
	// and the remedy.
	Plan() (P, error)
}

// A Starter is a plan that knows what runs it: [fixtures.Plan], [fixtures.DualPlan], [udp.Plan],
// [dnsfault.Plan] or [hostile.Plan]. [Start] calls it; a test never does.
type Starter[P any, E Running] interface {
	// Start runs the fixture f at w. It is called on the zero P.
	Start(ctx context.Context, f interface{ Plan() (P, error) }, w fixtures.Place) (E, error)
}

// The plans that Start runs.
var (
	_ Starter[fixtures.Plan, *fixtures.Endpoint]         = fixtures.Plan{}
	_ Starter[fixtures.DualPlan, *fixtures.DualEndpoint] = fixtures.DualPlan{}
	_ Starter[udp.Plan, *udp.Endpoint]                   = udp.Plan{}
	_ Starter[dnsfault.Plan, *dnsfault.Endpoint]         = dnsfault.Plan{}
	_ Starter[hostile.Plan, *hostile.Attack]             = hostile.Plan{}
)

// Running is what [Start] returns and [Expect] takes: a [*fixtures.Endpoint],
// [*fixtures.DualEndpoint], [*udp.Endpoint], [*dnsfault.Endpoint] or [*hostile.Attack]; or the
// [*fixtures.Listener] of an AcceptError, or the [*Group] of several.
type Running interface {
	// Started returns the moment from which events are timed.
	Started() time.Time

	// Events returns what the fixture has seen and done so far, in order.
	Events() []fixtures.Event

	// Rule returns the fact about sockets that the fixture rests on, in one line.
	Rule() string

	// String returns the fixture as a Go literal, and its address.
	String() string

	// WatchContact begins to look for the code under test. The function that it returns says what has
	// come since.
	WatchContact() func() fixtures.Contact

	// Close stops the fixture. A second call does nothing. Start has the test's cleanup call it.
	Close() error
}

// connected is a running fixture with connections.
type connected interface {
	Running
	Conns() []*fixtures.Conn
	Failures() []error
	Stack() network.Stack
}

// Start runs a fixture of any kind until the test ends, and returns what runs:
//
//	ep := sockettest.Start(t, fixtures.BlackHole{})           // *fixtures.Endpoint: an address, a server
//	ep := sockettest.Start(t, udp.Drop{})                     // *udp.Endpoint
//	ns := sockettest.Start(t, dnsfault.NXDomain{})            // *dnsfault.Endpoint: a name server
//	d := sockettest.Start(t, fixtures.Dual{})                 // *fixtures.DualEndpoint: a name with two addresses
//	a := sockettest.Start(t, hostile.Slowloris{Target: addr}) // *hostile.Attack: a client
//
// A fixture may come from a table, as a value of type [fixtures.Fixture], [udp.Fixture] and so on.
// Bad fields and bad addresses are fatal. A fixture that the platform cannot provide, such as a
// Dual on a host without IPv6, skips the test with the reason.
func Start[P Starter[P, E], E Running](t testing.TB, f Fixture[P], opts ...Option) E {
	if argument.IsNil(t) {
		_ = errNilTB("Start")
		return closed[E]()
	}
	t.Helper()
	var p P
	e, err := p.Start(t.Context(), f, where(t, "Start", opts))
	started(t, "Start", err)
	noteArmed(t, e)
	ended := noteUse(t, e)
	recentFixtures.add(e)
	parts := partsOf(e)
	var seen []*sight
	for _, part := range parts {
		seen = append(seen, see(t, part))
	}
	t.Cleanup(func() {
		defer ended()
		stop(t, e, parts, seen)
	})
	return e
}

// errNilTB is for calls without a test, which therefore have nothing to fail.
func errNilTB(verb string) error {
	err := fmt.Errorf("sockettest.%s: t is nil; want the test's own *testing.T", verb)
	fmt.Fprintln(os.Stderr, err)
	return err
}

// closed returns the zero value that E points to, which acts as a closed fixture.
func closed[E Running]() E {
	e, _ := reflect.New(reflect.TypeFor[E]().Elem()).Interface().(E)
	return e
}

// partsOf returns what has connections in a running fixture. Where nothing has, it is one nil part.
func partsOf(e Running) []connected {
	switch e := e.(type) {
	case *fixtures.DualEndpoint:
		if e.IPv4 != nil {
			return []connected{e.IPv4, e.IPv6}
		}
	case *Group:
		var all []connected
		for _, p := range e.parts {
			all = append(all, partsOf(p)...)
		}
		return all
	case connected:
		return []connected{e}
	}
	return []connected{nil}
}

// where settles the options. Like started, it calls Helper only to report: that costs a
// microsecond.
func where(t testing.TB, verb string, opts []Option) fixtures.Place {
	if t.Context().Err() != nil {
		t.Helper()
		t.Fatalf("sockettest.%s: the test has ended, and its cleanups run; want it called before, since a cleanup closes what it opens", verb)
	}
	if err := disarm.Check(); err != nil {
		t.Helper()
		t.Fatalf("bad argument: sockettest.%s: %v", verb, err)
	}
	w := fixtures.Place{Fail: func(err error) { fault(t, err) }}
	for _, o := range opts {
		if o == nil {
			t.Helper()
			t.Fatalf("bad argument: sockettest.%s: an option is nil; want On, Family or Address", verb)
		}
		o(&w)
	}
	if w.Stack == nil {
		w.Stack, _ = intercept.Current().(network.Stack)
	}
	return w
}

// started ends the test if the fixture did not start.
func started(t testing.TB, verb string, err error) {
	if err == nil {
		return
	}
	t.Helper()
	if rawsock.NoDescriptors(err) {
		t.Fatalf("sockettest.%s: no descriptors are left; want fewer open at once, or a higher limit (ulimit -n): %v", verb, err)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		skips.add(t, err)
		t.Skipf("sockettest.%s: %v", verb, err)
	}
	t.Fatalf("bad argument: sockettest.%s: %v", verb, err)
}

// fault is told of a fault that was asked of a running endpoint and is not available.
func fault(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		skips.add(t, err)
		t.Skipf("sockettest: %v", err)
	case errors.Is(err, disarm.ErrNever):
		endDisarmed(t, err.Error())
	default:
		t.Errorf("sockettest: %v", err)
	}
}

// stop closes a fixture, after NoLeaks has looked at the connections of its parts.
func stop(t testing.TB, e Running, parts []connected, seen []*sight) {
	checkFired(t, append(usableOf(e), e)...)
	for _, s := range seen {
		if e := s.endpoint(); e != nil {
			e.CloseIdleConnections() // where sockets are not listed, nobody can look again after Close
		}
		s.end()
	}
	if err := e.Close(); err != nil {
		t.Helper()
		t.Errorf("sockettest: %v", err)
	}
	if disarm.On() {
		return // a script may have met what its client does without the fault
	}
	for _, part := range parts {
		if part == nil {
			continue
		}
		for _, err := range part.Failures() {
			t.Helper()
			t.Errorf("sockettest: %v: %v", part, err)
		}
	}
}

// A usage is what the operations of Expect have done with each part of a fixture that can be used,
// and closed, by itself.
type usage []*partUsage

// A partUsage belongs to one part, whichever whole it is used by.
type partUsage struct {
	of     Running                       // the whole, as Start returned it
	used   atomic.Bool                   // an Expect has used it
	closed atomic.Pointer[closing]       // it was closed to make an operation return
	let    atomic.Pointer[connectedThen] // what was connected to it then
	last   atomic.Pointer[time.Time]     // when the latest operation returned, or was given up
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

// noteUse returns what logs, at the end of a test that did not fail, that it has neither used nor
// reached the fixture.
func noteUse(t testing.TB, ep Running) (ended func()) {
	u, fresh := useOf(ep)
	look := ep.WatchContact()
	return func() {
		defer over(t, ep, fresh)
		rows.ended(t.Name())
		if u.used() || t.Failed() || t.Skipped() {
			return
		}
		if s := look(); !s.Came && !s.Waiting && !s.Hidden {
			t.Helper()
			t.Logf("sockettest: %v was never used in an Expect, and never reached: saw no %s", ep, s.Signs)
		}
	}
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
func usageOf(t testing.TB, ep Running) usage {
	u, fresh := useOf(ep)
	if fresh != nil {
		t.Cleanup(func() { over(t, ep, fresh) })
	}
	return u
}

// useOf is usageOf without an end. It returns the parts that are known from now on.
func useOf(ep Running) (u usage, fresh []Running) {
	for _, part := range usableOf(ep) {
		if !isKey(part) {
			return usage{new(partUsage)}, fresh
		}
		p, known := uses.Load(part)
		if !known {
			if p, known = uses.LoadOrStore(part, &partUsage{of: ep}); !known {
				fresh = append(fresh, part)
			}
		}
		u = append(u, p.(*partUsage))
	}
	return u, fresh
}

// over is the end of a test that used these parts of a fixture.
func over(t testing.TB, ep Running, parts []Running) {
	for _, part := range parts {
		t.Helper()
		checkFired(t, part, ep)
		forget(part)
	}
	rows.ended(t.Name())
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
	case *Group:
		var all []Running
		for _, p := range e.parts {
			all = append(all, usableOf(p)...)
		}
		return all
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

// returned notes when an operation did.
func (u usage) returned(at time.Time) {
	for _, p := range u {
		p.last.Store(&at)
	}
}

// lastReturn is when the latest operation returned; the zero time if there was none.
func (u usage) lastReturn() (at time.Time) {
	for _, p := range u {
		if t := p.last.Load(); t != nil && t.After(at) {
			at = *t
		}
	}
	return at
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
