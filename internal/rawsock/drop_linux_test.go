package rawsock

import (
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

func TestPortHungDialIsHealedByItsNextSYN(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(drop))
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			c, err := dial(t, p, 20*time.Second)
			if assert.NoError(t, err) {
				_ = c.Close()
			}
		})
		awaitDropped(t, p, 1)
		require.NoError(t, p.Become(serve))
		s, err := p.Accept()
		require.NoError(t, err)
		_ = s.Close()
	})
}

func TestPortHungDialIsRefusedAfterClose(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(drop))
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := dial(t, p, 20*time.Second)
			if err == nil && p.v6 {
				_ = c.Close() // whoever has the port now
				return
			}
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		})
		awaitDropped(t, p, 1)
		require.NoError(t, p.Close())
		wg.Wait()
	})
}

func awaitDropped(t *testing.T, p network.Port, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		got, _, err := p.Dropped()
		return err == nil && got >= n
	}, 10*time.Second, time.Millisecond)
}

// A connection that was queued when the port went black is still served: it was connected before.
func TestPortServesWhatWasQueuedBeforeTheDrop(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		c, err := dial(t, p, 10*time.Second)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, p.Become(drop))
		requireDropped(t, p)
		s, err := p.Accept()
		require.NoError(t, err)
		defer s.Close()
		requirePasses(t, c, s)
	})
}

// A connection that has inherited the option is freed of it, however rarely that comes about.
func TestPortFreesWhatWasBornPartitioned(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		client, err := dial(t, p, 10*time.Second)
		require.NoError(t, err)
		defer client.Close()
		born, err := p.ln.Accept()
		require.NoError(t, err)
		require.NoError(t, control(born.(*net.TCPConn), func(fd int) error { return setMinTTL(fd, p.v6, blackTTL) }))
		server, err := p.adopt(born)
		require.NoError(t, err)
		defer server.Close()
		level, option := unix.IPPROTO_IP, unix.IP_MINTTL
		if p.v6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT
		}
		require.NoError(t, control(born.(*net.TCPConn), func(fd int) error {
			ttl, err := unix.GetsockoptInt(fd, level, option)
			assert.Zero(t, ttl)
			return err
		}))
		requirePasses(t, client, server)
	})
}

// What the switch to black catches in the middle of its handshake must not be born partitioned.
func TestPortNeverHandsOutAPartitionedConn(t *testing.T) {
	t.Parallel()
	p, err := bindPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, true)
	require.NoError(t, err)
	require.NoError(t, p.Become(serve))
	var serving, dialing sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := p.Accept()
			if err != nil {
				assert.ErrorIs(t, err, net.ErrClosed)
				return
			}
			serving.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
		}
	})
	for range 8 {
		dialing.Go(func() {
			for range manytests.Rounds(25) { // of 200 dials about 3 would be born so
				c, err := dial(t, p, 5*time.Millisecond)
				if err != nil {
					continue // dropped, as asked
				}
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				_, err = c.Write([]byte("x"))
				assert.NoError(t, err)
				_, err = io.ReadFull(c, make([]byte, 1))
				assert.NoError(t, err)
				_ = c.Close()
			}
		})
	}
	stop := make(chan struct{})
	var flipping sync.WaitGroup
	flipping.Go(func() {
		for {
			for _, s := range []network.State{drop, serve} {
				select {
				case <-stop:
					return
				default:
				}
				assert.NoError(t, p.Become(s))
			}
		}
	})
	dialing.Wait()
	close(stop)
	flipping.Wait()
	require.NoError(t, p.Close())
	serving.Wait()
}

func TestProbeFindsThatMinTTLDrops(t *testing.T) {
	t.Parallel()
	manytests.NeedsMinTTL(t)
	assert.True(t, canDrop(false))
	manytests.NeedsIPv6(t)
	assert.True(t, canDrop(true))
}
