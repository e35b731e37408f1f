// Package probe knows every fixture, and judges whether one behaves as its name says.
//
// Its rows are the one list of all fixtures: the contract
// ([example.com/go-sockettest/internal/contract]) checks them in tests, the doctor (cmd/sockettest)
// on a user's machine. A judge needs no test: it returns an error that says what it saw. A new
// fixture has its row in the file of its package: streams.go (package fixtures), datagrams.go
// (udp), names.go (dnsfault), secured.go (tlsfault), web.go (httpfault), proxies.go (proxyfault),
// clients.go (hostile).
package probe

import (
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
)

// A Row is one fixture, how it is judged, and what it refuses.
type Row struct {
	// Fixture is of any package, and has what its fields need. A hostile client has Client in its
	// place.
	Fixture any
	Client  func(target string) hostile.Fixture
	Special string // what is special about this row of a type that has several

	Judge Judge
	On    []string // the networks that have it; nil means all of its kind
	By    string   // the mechanism, if the endpoint does not name it
	Say   string   // what a client says before it ends; empty means "hello", or what TLS begins with
	First bool     // the fixture is who ends a connection
	Armed bool     // a disarmed run leaves it as it is: its Plan has no Instead

	// Bad has fixtures of this type with a field that is wrong, by what the error must say; of a
	// client, BadClient.
	Bad       map[string]any
	BadClient map[string]func(target string) hostile.Fixture
}

// A Judge returns an error if a running fixture does not behave as its name says. The note is what
// is worth knowing otherwise. What must not happen is waited for a moment on the kernel's network,
// and an hour on a simulated one.
type Judge func(ctx context.Context, r Running) (note string, err error)

// A Running is a fixture that runs: a [*fixtures.Endpoint], [*fixtures.DualEndpoint],
// [*udp.Endpoint], [*dnsfault.Endpoint] or [*Siege].
type Running interface {
	Started() time.Time
	Events() []fixtures.Event
	Rule() string
	String() string
	Close() error
}

// on makes a judge of a function that takes one type of Running.
func on[E Running](f func(context.Context, E) (string, error)) Judge {
	return func(ctx context.Context, r Running) (string, error) { return f(ctx, r.(E)) }
}

// All returns the rows of all packages, in the order of docs/fixtures.md.
func All() []Row {
	return slices.Concat(streams, datagrams, names, secured, web, proxies, clients)
}

// Of returns the rows of one package: "fixtures", "udp", "dnsfault", "tlsfault", "httpfault",
// "proxyfault" or "hostile".
func Of(pkg string) []Row {
	return slices.DeleteFunc(All(), func(r Row) bool { return r.Package() != pkg })
}

// target is where a client is told to go while it is only described.
const target = "127.0.0.1:1717"

// Any returns the fixture; of a client, one whose target is 127.0.0.1:1717.
func (r Row) Any() any {
	if r.Client != nil {
		return r.Client(target)
	}
	return r.Fixture
}

// Package names the fixture's package, without its path.
func (r Row) Package() string { return path.Base(reflect.TypeOf(r.Any()).PkgPath()) }

// Type names the fixture's type without its package.
func (r Row) Type() string { return reflect.TypeOf(r.Any()).Name() }

// String names the row as it is listed in docs/fixtures.md, and says what is special about it.
func (r Row) String() string {
	name := r.Type()
	if p := r.Package(); p != "fixtures" {
		name = p + "." + name
	}
	if r.Special != "" {
		name += ", " + r.Special
	}
	return name
}

// Networks are the kernel's networks that have the fixture.
func (r Row) Networks() []string {
	switch {
	case r.On != nil:
		return r.On
	case r.Client != nil:
		return tcp
	}
	switch r.Fixture.(type) {
	case udp.Fixture:
		return []string{"udp4", "udp6"}
	case dnsfault.Fixture:
		return []string{"ip4", "ip6"}
	}
	return []string{"tcp4", "tcp6", "unix"}
}

// tcp is for what unix sockets have not: RST, windows, clients.
var tcp = []string{"tcp4", "tcp6"}

// Start runs the row's fixture; a client attacks a server of its own.
func (r Row) Start(ctx context.Context, w fixtures.Place) (Running, error) {
	if r.Client != nil {
		return besiege(ctx, r.Client, w)
	}
	return Start(ctx, r.Fixture, w)
}

// Start runs a fixture of any package.
func Start(ctx context.Context, fixture any, w fixtures.Place) (Running, error) {
	switch f := fixture.(type) {
	case fixtures.Fixture:
		return running(fixtures.Start(ctx, f, w))
	case fixtures.Dual:
		return running(fixtures.StartDual(ctx, f, w))
	case udp.Fixture:
		return running(udp.Start(ctx, f, w))
	case dnsfault.Fixture:
		return running(dnsfault.Start(ctx, f, w))
	case hostile.Fixture:
		return running(hostile.Start(ctx, f, w))
	}
	return nil, fmt.Errorf("%T is not taken by a Start; want the struct", fixture)
}

// running makes a nil pointer a nil interface.
func running[E Running](e E, err error) (Running, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Become makes an endpoint the row's fixture. A client becomes nothing else.
func (r Row) Become(e Running) error { return Become(e, r.Fixture) }

// Become makes an endpoint another fixture of the same kind.
func Become(e Running, fixture any) error {
	switch e := e.(type) {
	case *fixtures.Endpoint:
		return e.Become(fixture.(fixtures.Fixture))
	case *udp.Endpoint:
		return e.Become(fixture.(udp.Fixture))
	case *dnsfault.Endpoint:
		return e.Become(fixture.(dnsfault.Fixture))
	}
	return fmt.Errorf("%T becomes nothing else", e)
}
