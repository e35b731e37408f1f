package sockettest_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// The halves of a Dual number their connections by themselves: what one client has ended at one is
// not taken for the other's of that number.
func TestReportOfADualTellsConnectionsApart(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Dual{IPv4: fixtures.Silent{}, IPv6: fixtures.Silent{}}, sockettest.On(simnet.New(t)))
		connect := func(half *fixtures.Endpoint) net.Conn {
			c, err := half.DialContext(t.Context(), "", "")
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		old, ended := connect(ep.IPv4), connect(ep.IPv6)
		require.NoError(t, ep.IPv4.Await(t.Context(), fixtures.ConnAccepted, 1))
		require.NoError(t, ended.Close())
		require.NoError(t, ep.IPv6.Await(t.Context(), fixtures.PeerFIN, 1))
		text := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.Expect(tb, ep, sockettest.TimedOut, func() error {
				_ = ep.IPv4.Conns()[0].Close()
				_, err := old.Read(make([]byte, 1))
				return err
			})
		}).Text()
		assert.Contains(t, text, "(IPv4 #1 is open from before)")
		assert.Contains(t, text, "IPv4 #1 by the fixture, after")
		assert.Contains(t, text, "IPv6 #1 from the client")
	})
}
