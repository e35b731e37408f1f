package sockettest

import (
	"errors"
	"reflect"
	"testing"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
)

// An Option says where [Start] puts a fixture.
type Option func(*fixtures.Where)

// On puts the fixture on another network than the kernel's loopback. Nil means the kernel's loopback.
func On(s network.Stack) Option { return func(w *fixtures.Where) { w.Stack = s } }

// Network chooses the family: "tcp4", "tcp6", or "tcp", the default, which is IPv4 unless Address is not; or "unix", where the
// address is the path of a socket. For [StartUDP] it is "udp4", "udp6" or "udp".
func Network(name string) Option { return func(w *fixtures.Where) { w.Network = name } }

// Address asks for one address, such as "127.0.0.1:1717", on loopback; on the network "unix", for a path. By default any free
// port will do, or a fresh file in a directory of its own.
func Address(addr string) Option { return func(w *fixtures.Where) { w.Address = addr } }

// Start runs a fixture until the test ends. What is wrong with the fixture or its address is fatal; a fixture that this
// platform cannot give skips the test, with the reason.
func Start(t testing.TB, f fixtures.Fixture, opts ...Option) *fixtures.Endpoint {
	if isNil(t) {
		_ = errNilTB("Start")
		return &fixtures.Endpoint{} // acts as a closed one
	}
	t.Helper()
	ep, err := fixtures.Start(t.Context(), f, where(t, "Start", opts))
	started(t, "Start", err)
	t.Cleanup(func() { stop(t, ep) })
	return ep
}

// where settles the options.
func where(t testing.TB, verb string, opts []Option) fixtures.Where {
	t.Helper()
	w := fixtures.Where{Fail: func(err error) { fault(t, err) }}
	for _, o := range opts {
		if o == nil {
			t.Fatalf("bad argument: sockettest.%s: an option is nil; want On, Network or Address", verb)
		}
		o(&w)
	}
	return w
}

// started ends the test if the fixture could not be had.
func started(t testing.TB, verb string, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("sockettest.%s: %v", verb, err)
	}
	if err != nil {
		t.Fatalf("bad argument: sockettest.%s: %v", verb, err)
	}
}

// fault is told of a fault that was asked of a running endpoint and cannot be had.
func fault(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("sockettest: %v", err)
	}
	t.Errorf("sockettest: %v", err)
}

// stop closes the endpoint, after NoLeaks has had a look at its connections.
func stop(t testing.TB, ep *fixtures.Endpoint) {
	t.Helper()
	if w := watched(t); w != nil {
		w.inspect(ep)
	}
	if err := ep.Close(); err != nil {
		t.Errorf("sockettest: %v", err)
	}
	for _, err := range ep.Failures() {
		t.Errorf("sockettest: %v: %v", ep, err)
	}
}

// isNil finds a nil interface, and a nil *testing.T inside one.
func isNil(t testing.TB) bool {
	v := reflect.ValueOf(t)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
