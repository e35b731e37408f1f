package sockettest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func TestEachNetwork(t *testing.T) {
	t.Parallel()
	var names []string
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		names = append(names, t.Name())
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		c, err := nw.DialContext(t.Context(), "tcp", ep.Addr())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
		virtual := time.Now().Year() == 2000 // a bubble's clock begins there
		assert.Equal(t, nw != sockettest.Kernel, virtual)
	})
	assert.Equal(t, []string{"TestEachNetwork/kernel", "TestEachNetwork/simnet"}, names)
}

// TestStackListen: a server under test gets its listener and its datagrams from the same network.
func TestStackListen(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c, err := nw.DialContext(t.Context(), "tcp", ln.Addr().String())
		require.NoError(t, err)
		s, err := ln.Accept()
		require.NoError(t, err)
		pc, err := nw.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		require.NoError(t, err)
		for _, c := range []interface{ Close() error }{c, s, ln, pc} {
			require.NoError(t, c.Close())
		}
	})
	for _, addr := range []string{"10.0.0.1:0", "localhost:0"} {
		_, err := sockettest.Kernel.Listen(t.Context(), "tcp", addr)
		require.ErrorContains(t, err, addr, "only loopback literals are bound")
		_, err = sockettest.Kernel.ListenPacket(t.Context(), "udp", addr)
		require.ErrorContains(t, err, addr)
	}
}
