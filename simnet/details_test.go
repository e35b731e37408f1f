package simnet_test

import (
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// A FIN that is lost under way comes again.
func TestLossOfAFINUnderLatency(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s, _ := far(t, nw)
		undo := nw.Loss(1)
		begin := time.Now()
		require.NoError(t, c.CloseWrite())
		time.Sleep(10 * time.Second) // rules:allow in a bubble
		undo()
		require.Equal(t, io.EOF, readErr(s))
		assert.Greater(t, time.Since(begin), 10*time.Second)
	})
}

// What has arrived is not acknowledged before a retransmission of it arrives.
func TestLossDelaysTheAcknowledgement(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		unacked := func() int {
			info, err := c.Info()
			require.NoError(t, err)
			return info.Own.Unacked
		}
		require.NoError(t, c.Partition())
		write(t, c, "x")
		read(t, s, "x")
		undo := nw.Loss(1)
		require.NoError(t, c.Heal())
		time.Sleep(10 * time.Second) // rules:allow in a bubble
		assert.Equal(t, 1, unacked())
		undo()
		time.Sleep(time.Minute) // rules:allow in a bubble
		assert.Zero(t, unacked())
	})
}

func TestClientsOfAPortAreInOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		p, err := nw.Bind(t.Context(), "tcp", "")
		require.NoError(t, err)
		defer p.Close()
		require.NoError(t, p.Become(network.State{Answer: network.Listen}))
		for range 20 {
			c, err := nw.Dial("tcp", p.Addr().String())
			require.NoError(t, err)
			defer c.Close()
		}
		clients, err := p.Clients()
		require.NoError(t, err)
		require.Len(t, clients, 20)
		assert.True(t, slices.IsSortedFunc(clients, func(a, b network.Client) int {
			return a.Addr.(*net.TCPAddr).Port - b.Addr.(*net.TCPAddr).Port
		}))
	})
}

// A connect whose answer is still on its way is one client, and hangs.
func TestClientsListAConnectOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		p, err := nw.Bind(t.Context(), "tcp", "")
		require.NoError(t, err)
		defer p.Close()
		require.NoError(t, p.Become(network.State{Answer: network.Listen}))
		nw.Latency(time.Second)
		dialled := make(chan net.Conn)
		go func() {
			c, err := nw.Dial("tcp", p.Addr().String())
			assert.NoError(t, err)
			dialled <- c
		}()
		time.Sleep(1500 * time.Millisecond) // rules:allow in a bubble
		clients, err := p.Clients()
		require.NoError(t, err)
		require.Len(t, clients, 1)
		assert.Equal(t, "SYN-SENT", clients[0].Socket.State)
		assert.Equal(t, 1, p.Visits().Open)
		require.NoError(t, (<-dialled).Close())
	})
}

func TestSocketsNameMachinesIfThereAreSeveral(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	alone := nw.Sockets()
	require.Len(t, alone, 1)
	assert.Regexp(t, `^\S+ `, alone[0])
	assert.NotRegexp(t, `^\S+: `, alone[0])
	nw.Host("db")
	beside := nw.Sockets()
	require.Len(t, beside, 1)
	assert.Regexp(t, `^\S+: `, beside[0])
	assert.Contains(t, beside[0], alone[0])
}

func TestDatagramsWithoutARoute(t *testing.T) {
	t.Parallel()
	_, err := simnet.New(t).Dial("udp", "203.0.113.1:53")
	require.ErrorIs(t, err, syscall.ENETUNREACH)
}
