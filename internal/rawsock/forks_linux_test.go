package rawsock

import (
	"net"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// forking forks children until the test ends.
func forking(t *testing.T) {
	var forks sync.WaitGroup
	forks.Go(func() {
		for t.Context().Err() == nil {
			assert.NoError(t, exec.Command("true").Run())
		}
	})
	t.Cleanup(forks.Wait)
}

// A port that was closed while a child was being forked, which has a copy of the socket, is free
// for every kind of use. Without the mends some of a thousand fail.
func TestPortsOutliveNoFork(t *testing.T) {
	if !manytests.Alone(t) { // others would see sockets that their children keep open
		return
	}
	forking(t)
	stack := Loopback{}
	ip := manytests.OwnLoopback()
	for range 500 {
		ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip})
		require.NoError(t, err)
		address := ln.Addr().String()
		require.NoError(t, ln.Close())
		for _, answer := range []network.Answer{network.Listen, network.Refuse} {
			p, err := stack.Bind(t.Context(), "tcp4", address)
			require.NoError(t, err)
			require.NoError(t, p.Become(network.State{Answer: answer}))
			require.NoError(t, p.Close())
			ln, err := net.Listen("tcp4", address)
			require.NoError(t, err, answer)
			require.NoError(t, ln.Close())
		}
		again, err := stack.Listen(t.Context(), "tcp4", address)
		require.NoError(t, err)
		require.NoError(t, again.Close())
	}
}
