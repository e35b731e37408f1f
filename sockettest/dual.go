package sockettest

import (
	"testing"

	"example.com/go-sockettest/fixtures"
)

// StartDual runs a name whose IPv4 and IPv6 addresses answer on one port, each in its own way, until the test ends. A host
// without IPv6 skips the test, with the reason; otherwise it is as [Start]. The code under test dials HostPort with the
// resolver, the dialer or the dial function of what StartDual returns; on simnet with the last.
func StartDual(t testing.TB, d fixtures.Dual, opts ...Option) *fixtures.DualEndpoint {
	if isNil(t) {
		_ = errNilTB("StartDual")
		return &fixtures.DualEndpoint{IPv4: &fixtures.Endpoint{}, IPv6: &fixtures.Endpoint{}} // acts as a closed one
	}
	t.Helper()
	dual, err := fixtures.StartDual(t.Context(), d, where(t, "StartDual", opts))
	started(t, "StartDual", err)
	noteArmed(t, dual)
	noteUse(t, dual)
	for _, ep := range []*fixtures.Endpoint{dual.IPv4, dual.IPv6} {
		seen := see(t, ep)
		t.Cleanup(func() { stop(t, ep, seen) })
	}
	t.Cleanup(func() { checkFired(t, dual) })
	return dual
}
