package rawsock

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// A change of state that fails half-way, for lack of descriptors, leaves the port as it was; one
// that does not fail leaves nothing of the state before. Not parallel: the process has no
// descriptors left meanwhile.
func TestBecomeThatFailsHalfWay(t *testing.T) {
	slow := network.State{Answer: network.Listen, Handshake: time.Hour}
	slowAndSmall := network.State{Answer: network.Listen, Handshake: time.Hour, SmallWindow: true}
	cut := network.State{Answer: network.Listen, Cut: true}
	for _, tt := range []struct {
		minTTL   bool
		from, to network.State
		left     int
		fails    bool
	}{
		{true, serve, slowAndSmall, 0, true},
		{true, refuse, slowAndSmall, 0, true},
		{true, serve, cut, 1, true},
		{true, cut, serve, 0, false},
		{false, serve, drop, 0, true},
		{false, serve, drop, 2, true},
		{false, serve, drop, 3, false},
		{false, drop, serve, 0, false},
		{false, refuse, drop, 0, true},
		{false, serve, slowAndSmall, 0, true},
		{false, slow, serve, 0, false},
	} {
		t.Run(fmt.Sprintf("min TTL %t, %v to %v, %d left", tt.minTTL, tt.from, tt.to, tt.left), func(t *testing.T) {
			if tt.minTTL {
				manytests.NeedsMinTTL(t)
			}
			if tt.to.Handshake > 0 && !canOpen(false) {
				t.Skip("the kernel has no simultaneous open, which is what takes descriptors")
			}
			assert.Equal(t, tt.fails, becomesWithout(t, tt.minTTL, tt.from, tt.to, tt.left) != nil)
		})
	}
}

// A slow handshake that finds no descriptors when it is due answers later. Not parallel: the
// process has no descriptors meanwhile.
func TestSlowHandshakeAwaitsDescriptors(t *testing.T) {
	p, err := bindPort(&net.TCPAddr{IP: loopback4}, false)
	require.NoError(t, err)
	defer func() { assert.NoError(t, p.Close()) }()
	require.NoError(t, p.Become(network.State{Answer: network.Listen, Handshake: time.Hour}))
	h := p.shake
	var old syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: old.Max}))
	healed := make(chan struct{})
	err = p.heal(h)
	go func() { h.heal(); close(healed) }()
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old))
	require.ErrorIs(t, err, syscall.EMFILE)
	<-healed
	requireServed(t, p)
}

// becomesWithout changes the state while so many descriptors are left, and then checks the port.
func becomesWithout(t *testing.T, minTTL bool, from, to network.State, left int) error {
	p, err := bindPort(&net.TCPAddr{IP: loopback4}, minTTL)
	require.NoError(t, err)
	defer func() { assert.NoError(t, p.Close()) }()
	require.NoError(t, p.Become(serve))
	buffer := receiveBuffer(t, p)
	var clients []net.Conn
	connects := func() {
		c, err := dial(t, p, 10*time.Second)
		require.NoError(t, err)
		clients = append(clients, c)
	}
	if from != refuse && to != refuse {
		connects()
	} else {
		require.NoError(t, p.Become(refuse))
	}
	require.NoError(t, p.Become(from))
	var became error
	t.Run("none left", func(t *testing.T) {
		leaveDescriptors(t, left)
		became = p.Become(to)
	})
	now := to
	if became != nil {
		require.ErrorIs(t, became, syscall.EMFILE)
		now = from
	}
	if now.Handshake == 0 || !now.SmallWindow {
		assert.Equal(t, buffer, receiveBuffer(t, p), "the small window")
	}
	switch {
	case now == refuse:
		requireRefused(t, p)
		return became
	case now == serve:
		connects()
		connects()
	default:
		requireDropped(t, p)
		require.NoError(t, p.Become(serve))
		connects()
	}
	for _, c := range clients {
		s, err := p.Accept()
		require.NoError(t, err)
		assert.Equal(t, c.LocalAddr().String(), s.RemoteAddr().String())
		requirePasses(t, c, s)
		_ = c.Close()
		_ = s.Close()
	}
	return became
}

func receiveBuffer(t *testing.T, p *port) (size int) {
	t.Helper()
	require.NoError(t, p.control(func(fd int) (err error) {
		size, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		return err
	}))
	return size
}
