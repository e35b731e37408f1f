package sockettest

import (
	"net"
	"testing"

	"example.com/go-sockettest/internal/argument"
)

// DefaultResolver makes r the resolver of package net until the test ends, for code that takes
// none: net.DefaultResolver, which net.LookupHost uses, and a [net.Dialer] without a Resolver.
//
//	names := sockettest.Start(t, dnsfault.Late{Delay: time.Second})
//	sockettest.DefaultResolver(t, names.Resolver()) // or dnsfault.Resolver(dead, late)
//
// It is the whole process's, and no other test of the package may look up names meanwhile. So t
// must not be parallel, nor become so: package testing panics. End what looks up names, such as an
// HTTP client, before the test ends.
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
