package rawsock

import (
	"net"
	"net/netip"
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

// What this process holds itself is told at once. An accepted connection shares its address, and a
// port of UDP is none of TCP.
func TestHoldsAddress(t *testing.T) {
	t.Parallel()
	ip := manytests.OwnLoopback()
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip})
	require.NoError(t, err)
	defer ln.Close()
	var d net.Dialer
	d.LocalAddr = &net.TCPAddr{IP: ip}
	client, err := d.DialContext(t.Context(), "tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	socket, err := net.DialUDP("udp4", &net.UDPAddr{IP: ip}, &net.UDPAddr{IP: ip, Port: 9})
	require.NoError(t, err)
	defer socket.Close()
	requireHeld := func(want, udp, shares bool, addr net.Addr) {
		t.Helper()
		held, err := holds(udp, netip.MustParseAddrPort(addr.String()), shares)
		require.NoError(t, err)
		require.Equal(t, want, held)
	}
	requireHeld(true, false, true, ln.Addr())
	requireHeld(false, true, false, ln.Addr())
	requireHeld(true, false, true, client.LocalAddr())
	requireHeld(true, true, false, socket.LocalAddr())
	require.NoError(t, ln.Close())
	requireHeld(true, false, false, ln.Addr())
	requireHeld(false, false, true, ln.Addr())
}
