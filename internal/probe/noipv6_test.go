package probe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/probe"
)

// On a host without IPv6 every fixture says that this is missing.
func TestWithoutIPv6(t *testing.T) {
	t.Parallel()
	if manytests.IPv6() == nil {
		t.Skip("this host has IPv6")
	}
	for _, r := range probe.All() {
		for _, nw := range r.Networks() {
			if r.Type() != "Dual" && !strings.HasSuffix(nw, "6") {
				continue
			}
			_, err := r.Start(t.Context(), fixtures.Place{Family: nw})
			require.ErrorIs(t, err, errors.ErrUnsupported, "%v on %s", r, nw)
			require.ErrorContains(t, err, "no IPv6 loopback on this host", "%v on %s", r, nw)
		}
	}
}
