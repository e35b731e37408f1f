package rawsock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

var (
	refuse = network.State{Answer: network.Refuse}
	serve  = network.State{Answer: network.Listen}
	drop   = network.State{Answer: network.Drop}
)

// eachPort runs f on both families and with both ways to drop.
func eachPort(t *testing.T, f func(t *testing.T, p *port)) {
	t.Helper()
	for _, tt := range []struct {
		name   string
		ip     net.IP
		minTTL bool
	}{
		{"IPv4 min TTL", ownLoopback(), true},
		{"IPv6 min TTL", net.IPv6loopback, true},
		{"IPv4 full queue", ownLoopback(), false},
		{"IPv6 full queue", net.IPv6loopback, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := bindPort(&net.TCPAddr{IP: tt.ip}, tt.minTTL)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, p.Close()) })
			f(t, p)
		})
	}
}

var lastLoopback atomic.Uint32

// ownLoopback returns an address of 127.0.0.0/8 that hardly anybody else uses, so that a port that
// was given back is not taken by a test or a program that runs beside. IPv6 has but one loopback
// address.
func ownLoopback() net.IP {
	lastLoopback.CompareAndSwap(0, uint32(os.Getpid())<<8)
	n := lastLoopback.Add(1)
	return net.IPv4(127, 1+byte(n>>16)%250, byte(n>>8), 1+byte(n)%250)
}

// requireNobody is for a port that was closed.
func requireNobody(t *testing.T, p network.Port) {
	t.Helper()
	c, err := dial(t, p, 10*time.Second)
	if err == nil {
		_ = c.Close()
		require.True(t, p.Addr().(*net.TCPAddr).IP.To4() == nil, "somebody listens on an address of our own")
		return
	}
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func dial(t *testing.T, p network.Port, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr().String())
}

func requireRefused(t *testing.T, p network.Port) {
	t.Helper()
	_, err := dial(t, p, 10*time.Second)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func requireDropped(t *testing.T, p network.Port) {
	t.Helper()
	before, _, err := p.Dropped()
	require.NoError(t, err)
	for after := before; after == before; { // on a busy machine a dial can be over before its SYN has left
		c, err := dial(t, p, 20*time.Millisecond)
		if err == nil {
			_ = c.Close()
		}
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.True(t, ne.Timeout(), "%v", err)
		after, _, err = p.Dropped()
		require.NoError(t, err)
	}
}

// requireServed dials and passes one byte each way.
func requireServed(t *testing.T, p network.Port) (client net.Conn, server network.Conn) {
	t.Helper()
	client, err := dial(t, p, 10*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	for {
		server, err = p.Accept()
		require.NoError(t, err)
		if server.RemoteAddr().String() == client.LocalAddr().String() {
			break
		}
		_ = server.Close() // a stranger that still had somebody else's port in mind
	}
	t.Cleanup(func() { _ = server.Close() })
	requirePasses(t, client, server)
	return client, server
}

func requirePasses(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, w := range []struct{ from, to net.Conn }{{a, b}, {b, a}} {
		_, err := w.from.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(w.to, make([]byte, 1))
		require.NoError(t, err)
	}
}

func TestPortRefusesFromTheStart(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		for range 20 {
			requireRefused(t, p)
		}
	})
}

func TestPortCyclesThroughAllStates(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		addr := p.Addr().String()
		var a, b net.Conn
		for i, s := range []network.State{serve, refuse, serve, drop, serve, drop, refuse, drop, drop, refuse, serve, serve, refuse} {
			require.NoError(t, p.Become(s), "step %d", i)
			switch s.Answer {
			case network.Listen:
				c, d := requireServed(t, p)
				if a == nil {
					a, b = c, d
				}
			case network.Drop:
				requireDropped(t, p)
			default:
				requireRefused(t, p)
			}
			if a != nil {
				requirePasses(t, a, b) // a connection outlives every change of state
			}
			require.Equal(t, addr, p.Addr().String())
		}
	})
}

func TestPortManyCycles(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		for range 200 {
			require.NoError(t, p.Become(serve))
			c, s := requireServed(t, p)
			require.NoError(t, p.Become(refuse))
			requireRefused(t, p)
			_ = s.Close() // the fixture's side first: TIME_WAIT stays on our port
			_ = c.Close()
		}
	})
}

// Nobody can take the port, in any state and after any history.
func TestPortIsHeld(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		try := func(state string) {
			var lc net.ListenConfig
			for _, addr := range []string{p.addr.String(), net.JoinHostPort(wildcard(p), portOf(p))} {
				ln, err := lc.Listen(t.Context(), "tcp", addr)
				if err == nil {
					_ = ln.Close()
				}
				assert.ErrorIs(t, err, syscall.EADDRINUSE, "%s, listen on %s", state, addr)
			}
			d := net.Dialer{LocalAddr: p.addr, Timeout: time.Second}
			c, err := d.DialContext(t.Context(), "tcp", p.addr.String())
			if err == nil {
				_ = c.Close()
			}
			assert.ErrorIs(t, err, syscall.EADDRINUSE, "%s, dial from it", state)
		}
		try("bound")
		for range 3 {
			require.NoError(t, p.Become(serve))
			try("listening")
			_, s := requireServed(t, p)
			_ = s.Close()
			require.NoError(t, p.Become(refuse))
			try("refusing again")
			require.NoError(t, p.Become(drop))
			try("dropping")
			require.NoError(t, p.Become(refuse))
			try("refusing after a drop")
		}
	})
}

func wildcard(p *port) string {
	if p.v6 {
		return "::"
	}
	return "0.0.0.0" // rules:allow a thief's address, refused because we hold the port
}

func portOf(p *port) string { _, s, _ := net.SplitHostPort(p.addr.String()); return s }

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
func TestPortNeverHandsOutAPartitionedConnection(t *testing.T) {
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
			for range 40 { // of 320 dials about 5 would be born so
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

func TestPortHandshakeIsNeverEarly(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	for _, delay := range []time.Duration{time.Millisecond, 1100 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			eachPort(t, func(t *testing.T, p *port) {
				s := serve
				s.Handshake = delay
				require.NoError(t, p.Become(s))
				start := time.Now()
				c, err := dial(t, p, 20*time.Second)
				require.NoError(t, err)
				assert.GreaterOrEqual(t, time.Since(start), delay)
				_ = c.Close()
			})
		})
	}
}

func TestPortCloseEndsEverything(t *testing.T) {
	t.Parallel()
	for _, s := range []network.State{{}, serve, drop, {Answer: network.Listen, Hold: time.Hour},
		{Answer: network.Listen, Handshake: time.Hour}} {
		t.Run(s.Answer.String()+s.Hold.String()+s.Handshake.String(), func(t *testing.T) {
			t.Parallel()
			eachPort(t, func(t *testing.T, p *port) {
				require.NoError(t, p.Become(s))
				got := make(chan error, 1)
				go func() { _, err := p.Accept(); got <- err }()
				require.NoError(t, p.Close())
				require.ErrorIs(t, <-got, net.ErrClosed)
				require.NoError(t, p.Close())
				require.ErrorIs(t, p.Become(serve), net.ErrClosed)
				_, _, err := p.Dropped()
				require.NoError(t, err)
				requireNobody(t, p)
			})
		})
	}
}

// Close may come while Accept is just about to wait for arrivals, or to count them.
func TestPortCloseWhileArrivalsAreAwaited(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		rounds := 3000
		if p.v6 {
			rounds = 300 // each takes a port that somebody else may still have in mind
		}
		for i := range rounds {
			p, err := bindPort(&net.TCPAddr{IP: p.addr.IP}, p.minTTL)
			require.NoError(t, err)
			require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: time.Hour}))
			got := make(chan error, 1)
			go func() { _, err := p.Accept(); got <- err }()
			for range i % 30 { // so that it meets every step of the other
				_, _, _ = p.Dropped()
				runtime.Gosched()
			}
			require.NoError(t, p.Close())
			require.ErrorIs(t, <-got, net.ErrClosed)
		}
	})
}

// Not parallel: it counts the process's descriptors.
func TestPortLeavesNoDescriptor(t *testing.T) {
	before := openDescriptors(t)
	for range 3 {
		for _, minTTL := range []bool{true, false} {
			p, err := bindPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, minTTL)
			require.NoError(t, err)
			for _, s := range []network.State{serve, drop, refuse, drop, serve, drop} {
				require.NoError(t, p.Become(s))
			}
			require.NoError(t, p.Close())
		}
	}
	require.Equal(t, before, openDescriptors(t))
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	// The poller's own descriptors exist from the first use on.
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return costs.Descriptors(t)
}

// Where all the ports that we would choose are taken, the kernel is asked.
func TestBindFindsAPortAmongMany(t *testing.T) {
	t.Parallel()
	ip := ownLoopback()
	r := portRange()
	if r.high == 0 {
		t.Skip("the range of ports is not known here")
	}
	for i := range uint32(1000) { // the tests beside this one take theirs as well
		num := r.low + 2*int((portCount.Load()+i)%uint32((r.high-r.low+1)/2)) + 1
		if fd, _, err := boundSocket(&net.TCPAddr{IP: ip, Port: num}); err == nil {
			t.Cleanup(func() { _ = unix.Close(fd) })
		}
	}
	p, err := bindPort(&net.TCPAddr{IP: ip}, true)
	require.NoError(t, err)
	require.NoError(t, p.Close())
}

func TestProbeFindsThatMinTTLDrops(t *testing.T) {
	t.Parallel()
	assert.True(t, canDrop(false))
	assert.True(t, canDrop(true))
}

func TestPeerTellsFINFromRST(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		for _, tt := range []struct {
			end  func(c *net.TCPConn)
			want network.PeerState
		}{
			{func(c *net.TCPConn) { _ = c.Close() }, network.PeerFIN},
			{func(c *net.TCPConn) { _ = c.CloseWrite() }, network.PeerFIN},
			{func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, network.PeerRST},
		} {
			client, server := requireServed(t, p)
			_, err := client.Write([]byte("unread"))
			require.NoError(t, err)
			got, err := server.Peer()
			require.NoError(t, err)
			assert.Equal(t, network.PeerOpen, got)
			go tt.end(client.(*net.TCPConn))
			got, err = server.AwaitPeerEnd()
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		}
	})
}

// A connection that is closed in both directions is in one state of the kernel's, however it came
// to that.
func TestPeerTellsWhatCameFirst(t *testing.T) {
	t.Parallel()
	closes := func(c *net.TCPConn) { _ = c.CloseWrite(); _ = c.Close() }
	resets := func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		for _, tt := range []struct {
			name string
			act  func(c network.Conn)
			end  func(c *net.TCPConn)
			want network.PeerState
		}{
			{"after our FIN", func(c network.Conn) { _ = c.CloseWrite() }, closes, network.PeerFIN},
			{"after our FIN", func(c network.Conn) { _ = c.CloseWrite() }, resets, network.PeerRST},
			{"with an answer unread", func(c network.Conn) { _, _ = c.Write([]byte("unread")) }, closes, network.PeerFIN},
			{"with an answer unread", func(c network.Conn) { _, _ = c.Write([]byte("unread")) }, resets, network.PeerRST},
		} {
			for read := range 3 {
				client, server := requireServed(t, p)
				_, err := client.Write([]byte("hi"))
				require.NoError(t, err)
				if read > 0 {
					_, err = io.ReadFull(server, make([]byte, read))
					require.NoError(t, err)
				}
				tt.act(server)
				tt.end(client.(*net.TCPConn))
				got, err := server.AwaitPeerEnd()
				require.NoError(t, err)
				assert.Equal(t, tt.want, got, "%s, %d B read", tt.name, read)
				_, _ = io.Copy(io.Discard, server)
				got, err = server.Peer()
				require.NoError(t, err)
				assert.Equal(t, tt.want, got, "%s, all read, and the error too", tt.name)
			}
		}
	})
}

func TestAwaitPeerEndEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		_, server := requireServed(t, p)
		require.NoError(t, server.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err := server.AwaitPeerEnd()
		require.True(t, errors.Is(err, os.ErrDeadlineExceeded), "%v", err)
	})
}
