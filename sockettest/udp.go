package sockettest

import (
	"testing"

	"example.com/go-sockettest/fixtures/udp"
)

// StartUDP runs a fixture for datagrams until the test ends, as [Start] does one for connections. The networks are "udp4",
// "udp6", and "udp", the default, which is IPv4 unless Address is not.
func StartUDP(t testing.TB, f udp.Fixture, opts ...Option) *udp.Endpoint {
	if isNil(t) {
		_ = errNilTB("StartUDP")
		return &udp.Endpoint{} // acts as a closed one
	}
	t.Helper()
	ep, err := udp.Start(t.Context(), f, where(t, "StartUDP", opts))
	started(t, "StartUDP", err)
	noteArmed(t, ep)
	noteUse(t, ep)
	seen := see(t, nil)
	t.Cleanup(func() {
		t.Helper()
		checkFired(t, ep)
		seen.end()
		if err := ep.Close(); err != nil {
			t.Errorf("sockettest: %v", err)
		}
	})
	return ep
}
