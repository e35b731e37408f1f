package sockettest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/contact"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

// An Option says where [Start] puts a fixture.
type Option func(*fixtures.Where)

// On puts the fixture on another network than the kernel's loopback. Nil means the kernel's loopback.
func On(s network.Stack) Option { return func(w *fixtures.Where) { w.Stack = s } }

// Network chooses the family: "tcp4", "tcp6", or "tcp", the default, which is IPv4 unless Address is not; or "unix", where the
// address is the path of a socket. For [StartUDP] it is "udp4", "udp6" or "udp", for a name server "ip4", "ip6" or "ip".
func Network(name string) Option { return func(w *fixtures.Where) { w.Network = name } }

// Address asks for one address, such as "127.0.0.1:1717", on loopback; on the network "unix", for a path. By default any free
// port will do, or a fresh file in a directory of its own.
func Address(addr string) Option { return func(w *fixtures.Where) { w.Address = addr } }

// A starter is a plan of either side: [fixtures.Plan] or [dnsfault.Plan], which an Endpoint E runs, or [hostile.Plan], which
// an Attack does.
type starter[P, E any] interface {
	Start(ctx context.Context, f interface{ Plan() (P, error) }, w fixtures.Where) (*E, error)
}

// running is a fixture that runs: a [*fixtures.Endpoint], a [*fixtures.Dual], a [*hostile.Attack],
// a [*udp.Endpoint], a [*dnsfault.Endpoint], a [*fixtures.Listener].
type running interface {
	Started() time.Time
	Events() []fixtures.Event
	Rule() string
	String() string
	Close() error
	Watch() func() contact.Seen // what has come from the code under test since the call
}

// connected is one with connections.
type connected interface {
	running
	Conns() []*fixtures.Conn
	Failures() []error
}

// Start runs a fixture until the test ends: a server or an address that misbehaves, of package fixtures, a client that
// does, of package hostile, or a name server, of package dnsfault. It returns the *fixtures.Endpoint, the *hostile.Attack or
// the *dnsfault.Endpoint.
//
//	ep := sockettest.Start(t, fixtures.BlackHole{})
//	loris := sockettest.Start(t, hostile.Slowloris{Target: srv.Addr()})
//
// What is wrong with the fixture or its address is fatal; a fixture that this platform cannot give skips the test, with
// the reason.
func Start[P starter[P, E], E any](t testing.TB, f interface{ Plan() (P, error) }, opts ...Option) *E {
	if isNil(t) {
		_ = errNilTB("Start")
		return new(E) // acts as a closed one
	}
	t.Helper()
	var p P
	e, err := p.Start(t.Context(), f, where(t, "Start", opts))
	started(t, "Start", err)
	noteArmed(t, any(e).(running))
	noteUse(t, any(e).(running))
	seen := see(t, any(e).(connected))
	t.Cleanup(func() { stop(t, any(e).(connected), seen) })
	return e
}

// where settles the options. Like the next two it calls Helper when there is something to report: that costs a microsecond.
func where(t testing.TB, verb string, opts []Option) fixtures.Where {
	if t.Context().Err() != nil {
		t.Helper()
		t.Fatalf("sockettest.%s: the test has ended, and its cleanups run; want fixtures started before, since each is closed by a"+
			" cleanup", verb)
	}
	if err := disarm.Check(); err != nil {
		t.Helper()
		t.Fatalf("bad argument: sockettest.%s: %v", verb, err)
	}
	w := fixtures.Where{Fail: func(err error) { fault(t, err) }}
	for _, o := range opts {
		if o == nil {
			t.Helper()
			t.Fatalf("bad argument: sockettest.%s: an option is nil; want On, Network or Address", verb)
		}
		o(&w)
	}
	return w
}

// started ends the test if the fixture could not be had.
func started(t testing.TB, verb string, err error) {
	if err == nil {
		return
	}
	t.Helper()
	if rawsock.NoDescriptors(err) {
		t.Fatalf("sockettest.%s: no descriptors are left; want fewer open at once, or a higher limit (ulimit -n): %v", verb, err)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("sockettest.%s: %v", verb, err)
	}
	t.Fatalf("bad argument: sockettest.%s: %v", verb, err)
}

// fault is told of a fault that was asked of a running endpoint and cannot be had.
func fault(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("sockettest: %v", err)
	}
	t.Errorf("sockettest: %v", err)
}

// stop closes the fixture, after NoLeaks has had a look at its connections.
func stop(t testing.TB, f connected, seen *sight) {
	checkFired(t, f)
	seen.end()
	if err := f.Close(); err != nil {
		t.Helper()
		t.Errorf("sockettest: %v", err)
	}
	if disarm.On() {
		return // a script may have met what its client does without the fault
	}
	for _, err := range f.Failures() {
		t.Helper()
		t.Errorf("sockettest: %v: %v", f, err)
	}
}

// isNil finds a nil interface, and a nil pointer inside one, such as a nil *testing.T.
func isNil(i any) bool {
	v := reflect.ValueOf(i)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
