package sockettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/eyeballs"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

// Dialer returns a [*net.Dialer] whose connects all end as at f, with the kernel's own errors,
// whatever address they are for. It is for code under test that takes nothing but a net.Dialer. No
// packet is sent, and no real time is needed: in a testing/synctest bubble (call Dialer there) a
// connect timeout of 30 s is over in microseconds.
//
//   - [fixtures.Refused], and [fixtures.BoundOnly] where the platform refuses there: ECONNREFUSED,
//     at once.
//   - [fixtures.BlackHole]: a timeout by the dialer's Timeout or its context, with package net's
//     errors. Without either, ETIMEDOUT after 131 s, as on Linux. A dial that still hangs at the
//     end of the test is refused.
//   - [NoRoute]: ENETUNREACH, at once.
//
// There is no endpoint for [Expect]. Check the result of [Measure]:
//
//	err := sockettest.TimedOut.At(30 * time.Second).Check(sockettest.Measure(client.Ping))
//
// A fixture that accepts is fatal, since a dialer cannot be led to another address: use [Start].
// Set any field of the dialer but Control and ControlContext. Names are looked up as usual: dial IP
// addresses, above all in a bubble. To dial anything but TCP is an error. In a disarmed run
// (SOCKETTEST_DISARM=1) the dialer connects to the address.
func Dialer(t testing.TB, f fixtures.Fixture) *net.Dialer {
	if argument.IsNil(t) {
		_ = errNilTB("Dialer")
		return &net.Dialer{ControlContext: failing{err: errNoTest}.connect}
	}
	t.Helper()
	how, err := failureOfDial(f)
	if err != nil {
		t.Fatalf("bad argument: sockettest.Dialer: %v", err)
	}
	if disarm.On() {
		return &net.Dialer{ControlContext: guards.control}
	}
	over := make(chan struct{})
	test := rootName(t.Name())
	fakeDials.begin(test)
	t.Cleanup(func() { close(over); fakeDials.end(test) })
	how.over, how.dials = over, func(address string) { fakeDials.add(test, address) }
	return &net.Dialer{ControlContext: how.connect}
}

// NoRoute is an address to which there is no route. It is for [Dialer] only: everything on loopback
// can be reached.
type NoRoute struct{}

// Plan returns an error: there is nothing to bind.
func (NoRoute) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{}, errors.New("NoRoute has no address that could be bound; want it in sockettest.Dialer only")
}

// ListenConfig returns a [*net.ListenConfig] that fails with errno, wrapped as package net wraps
// it, to listen on TCP and UDP alike. It is for servers under test that take nothing but a
// net.ListenConfig. Nothing is bound.
//
// errno is EADDRINUSE, EADDRNOTAVAIL or EACCES, which bind returns, or EMFILE, ENFILE or ENOBUFS,
// which socket returns. Others are fatal. In a disarmed run (SOCKETTEST_DISARM=1) it listens. For a
// listener that fails later, in Accept, use [fixtures.AcceptError].
func ListenConfig(t testing.TB, errno syscall.Errno) *net.ListenConfig {
	err := os.NewSyscallError(listenCalls[errno], errno)
	lc := &net.ListenConfig{Control: func(string, string, syscall.RawConn) error { return err }}
	if argument.IsNil(t) {
		_ = errNilTB("ListenConfig")
		return lc
	}
	t.Helper()
	if listenCalls[errno] == "" {
		t.Fatalf("bad argument: sockettest.ListenConfig: errno is %d (%s); want one that listening ends in, such as syscall.EADDRINUSE",
			errno, rawsock.ErrnoName(errno))
	}
	if disarm.On() {
		return &net.ListenConfig{}
	}
	return lc
}

// listenCalls are the system calls from which the errnos come: socket(2), bind(2).
var listenCalls = map[syscall.Errno]string{
	syscall.EADDRINUSE: "bind", syscall.EADDRNOTAVAIL: "bind", syscall.EACCES: "bind",
	syscall.EMFILE: "socket", syscall.ENFILE: "socket", syscall.ENOBUFS: "socket",
}

// kernelPatience is when Linux gives up a connect of which it hears nothing (tcp(7),
// tcp_syn_retries): since Linux 6.5, which begins with five SYNs a second apart, after 131 s; 127 s
// before.
const kernelPatience = 131 * time.Second

// errNoTest is what a dialer has to say that was made without a test.
var errNoTest = errors.New("sockettest.Dialer: t was nil; want the test's own *testing.T")

// A failing is a connect that does not succeed.
type failing struct {
	err  error           // at once; nil: nobody answers
	over <-chan struct{} // closed when the test is

	dials func(address string) // is told of each connect
}

// failureOfDial tells how a connect to the fixture fails.
func failureOfDial(f fixtures.Fixture) (failing, error) {
	if argument.IsNil(f) {
		return failing{}, errors.New("the fixture is nil; want one such as fixtures.BlackHole{}")
	}
	if _, ok := f.(NoRoute); ok {
		return failing{err: rawsock.ConnectError(rawsock.Unreachable)}, nil
	}
	p, err := f.Plan()
	if err != nil {
		return failing{}, err
	}
	answer := p.State.Answer
	if answer == network.Own {
		answer = rawsock.OwnAnswer()
	}
	switch answer {
	case network.Refuse:
		return failing{err: rawsock.ConnectError(rawsock.Refused)}, nil
	case network.Drop:
		return failing{}, nil
	}
	if answer != network.Listen {
		return failing{}, fmt.Errorf("%T answers no SYN, since it is no TCP address; want a fixture that is one, such as fixtures.Refused{}", f)
	}
	return failing{}, fmt.Errorf("%T accepts connections, and a net.Dialer cannot be led to them; want sockettest.Start,"+
		" and its Endpoint's Addr or DialContext", f)
}

// connect is a hook that package net calls in place of connect, or so it looks, for it never comes
// to that: what the hook returns, package net wraps as it would the kernel's error.
func (f failing) connect(ctx context.Context, nw, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(nw, "tcp") {
		return fmt.Errorf("a dialer of sockettest.Dialer is for TCP, and the network is %q; want tcp, tcp4 or tcp6", nw)
	}
	if f.dials != nil {
		f.dials(address)
	}
	if f.err != nil {
		return f.err
	}
	patience := time.NewTimer(kernelPatience)
	defer patience.Stop()
	select {
	case <-ctx.Done(): // the dialer's Timeout and Deadline are in it
		return eyeballs.ContextError(ctx)
	case <-patience.C:
		return rawsock.ConnectError(rawsock.KernelTimeout)
	case <-f.over:
		return rawsock.ConnectError(rawsock.Refused)
	}
}

// fakeDials are the connects of the dialers that [Dialer] has returned. They send no packet, so no
// fixture sees them: a connect to a fixture's address counts as one to the fixture.
var fakeDials dialCounts

// A dialCounts counts connects by address, for each test with its subtests.
type dialCounts struct {
	mu    sync.Mutex
	tests map[string]*dialCount
}

type dialCount struct {
	dialers int // whose test goes on
	to      map[string]int
}

func (d *dialCounts) begin(test string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tests == nil {
		d.tests = map[string]*dialCount{}
	}
	if d.tests[test] == nil {
		d.tests[test] = &dialCount{to: map[string]int{}}
	}
	d.tests[test].dialers++
}

func (d *dialCounts) end(test string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tests[test].dialers--; d.tests[test].dialers == 0 {
		delete(d.tests, test)
	}
}

func (d *dialCounts) add(test, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.tests[test]; n != nil {
		n.to[address]++
	}
}

// count returns how many connects went to a fixture.
func (d *dialCounts) count(test string, s fixtures.Contact) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tests[test] == nil {
		return 0
	}
	n := 0
	for address, times := range d.tests[test].to {
		if anyOf(s, address, same) {
			n += times
		}
	}
	return n
}

// watch adds them to what the fixture itself sees, if the test has such a dialer.
func (d *dialCounts) watch(t testing.TB, look func() fixtures.Contact) func() fixtures.Contact {
	test := rootName(t.Name())
	d.mu.Lock()
	none := d.tests[test] == nil
	d.mu.Unlock()
	if none {
		return look
	}
	before := d.count(test, look())
	return func() fixtures.Contact {
		s := look()
		s.Came = s.Came || d.count(test, s) > before
		return s
	}
}

// DefaultResolver makes r the resolver of package net until the test ends, for code that takes
// none: net.DefaultResolver, which net.LookupHost uses, and a [net.Dialer] without a Resolver.
//
//	names := sockettest.Start(t, dnsfault.Late{Delay: time.Second})
//	sockettest.DefaultResolver(t, names.Resolver()) // or dnsfault.Resolver(dead, late)
//
// The resolver is the whole process's, so no other test of the package may look up names meanwhile:
// t must not be parallel, and package testing panics if it is or becomes so. End what looks up
// names, such as an HTTP client, before the test ends.
func DefaultResolver(t testing.TB, r *net.Resolver) {
	if argument.IsNil(t) {
		_ = errNilTB("DefaultResolver")
		return
	}
	t.Helper()
	if r == nil {
		t.Fatalf("bad argument: sockettest.DefaultResolver: r is nil; want one such as dnsfault's Endpoint.Resolver returns")
	}
	t.Setenv("SOCKETTEST_DEFAULT_RESOLVER", "replaced") // which package testing allows to no parallel test
	before := net.DefaultResolver
	net.DefaultResolver = r
	t.Cleanup(func() { net.DefaultResolver = before })
}
