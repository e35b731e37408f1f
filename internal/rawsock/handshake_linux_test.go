package rawsock

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/reference"
	"example.com/go-sockettest/network"
)

func slow(d time.Duration) network.State {
	return network.State{Answer: network.Listen, Handshake: d}
}

// eachSlow runs f with a port that completes connects by simultaneous open, on both families and
// with both ways to drop.
func eachSlow(t *testing.T, f func(t *testing.T, p *port)) {
	t.Helper()
	eachPort(t, func(t *testing.T, p *port) {
		needDiag(t)
		require.True(t, canOpen(p.v6))
		f(t, p)
	})
}

// requireBlack: no SYN was answered by the listener, so what is connected was opened from our side.
func requireBlack(t *testing.T, p *port) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.True(t, p.black, "the port listens")
}

func TestSlowHandshakeCountsFromEachSYN(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	const delay = 30 * time.Millisecond
	eachSlow(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(slow(delay)))
		var dialers sync.WaitGroup
		for range 4 {
			dialers.Go(func() {
				for range 5 {
					start := time.Now()
					c, err := dial(t, p, 20*time.Second)
					if !assert.NoError(t, err) {
						return
					}
					assert.GreaterOrEqual(t, time.Since(start), delay)
					defer c.Close()
					_, err = c.Write([]byte(c.LocalAddr().String()))
					assert.NoError(t, err)
				}
			})
		}
		for range 20 {
			s, err := p.Accept()
			require.NoError(t, err)
			defer s.Close()
			require.Equal(t, p.addr.String(), s.LocalAddr().String())
			b := make([]byte, 64)
			n, err := s.Read(b)
			require.NoError(t, err)
			require.Equal(t, s.RemoteAddr().String(), string(b[:n]), "the connection is another's")
			if err := s.Partition(); !errors.Is(err, errors.ErrUnsupported) { // with a TTL of 255
				require.NoError(t, err, "it is like any other")
				require.NoError(t, s.Heal())
			}
		}
		dialers.Wait()
		requireBlack(t, p)
	})
}

// A port that fills its own accept queue hands out its client alone, on the grid too, to which
// Hold leads.
func TestSlowHandshakeOnTheGridAcceptsItsClient(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	eachPort(t, func(t *testing.T, p *port) {
		const delay = 10 * time.Millisecond
		require.NoError(t, p.Become(network.State{Answer: network.Listen, Handshake: delay, Hold: time.Millisecond}))
		accepted := make(chan network.Conn, 1)
		go func() {
			s, err := p.Accept() // as a fixture does, from before the first dial
			assert.NoError(t, err)
			accepted <- s
		}()
		start := time.Now()
		c, err := dial(t, p, 20*time.Second)
		require.NoError(t, err)
		defer c.Close()
		assert.GreaterOrEqual(t, time.Since(start), delay)
		s := <-accepted
		defer s.Close()
		assert.Equal(t, c.LocalAddr().String(), s.RemoteAddr().String())
	})
}

// A change of state in the middle leaves no goroutine, no socket and no client that is connected to
// nobody.
func TestSlowHandshakeEndsWithTheState(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	for _, next := range []network.State{serve, refuse, drop, slow(time.Millisecond)} {
		eachSlow(t, func(t *testing.T, p *port) {
			require.NoError(t, p.Become(slow(time.Hour)))
			before, _, err := p.Dropped()
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := make(chan error, 1)
			go func() {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr().String())
				if err == nil {
					_ = c.Close()
				}
				got <- err
			}()
			awaitDropped(t, p, before+1)
			require.NoError(t, p.Become(next))
			switch next.Answer {
			case network.Listen:
				s, err := p.Accept()
				require.NoError(t, err)
				_ = s.Close()
				require.NoError(t, <-got)
			case network.Drop:
				cancel()
				require.Error(t, <-got)
			default:
				require.ErrorIs(t, <-got, syscall.ECONNREFUSED)
			}
			require.NoError(t, p.Become(slow(time.Hour)), "and back")
			requireDropped(t, p)
		})
	}
}

// What was opened and not accepted is reset when the port refuses or closes, as a kernel does with
// its own queue.
func TestSlowHandshakeResetsItsQueue(t *testing.T) {
	t.Parallel()
	eachSlow(t, func(t *testing.T, p *port) {
		for _, end := range []func() error{func() error { return p.Become(refuse) }, p.Close} {
			require.NoError(t, p.Become(slow(time.Millisecond)))
			c, err := dial(t, p, 20*time.Second)
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, end())
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			requireRefused(t, p)
		}
	})
}

// MPTCP knows no simultaneous open. Such a client is not left out: it is served on the grid of
// retransmissions.
func TestSlowHandshakeServesMPTCPOnTheGrid(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	eachSlow(t, func(t *testing.T, p *port) {
		const delay = 10 * time.Millisecond
		require.NoError(t, p.Become(slow(delay)))
		d := net.Dialer{Timeout: 10 * time.Second} // an attempt at simultaneous open would cost it 15
		d.SetMultipathTCP(true)
		start := time.Now()
		c, err := d.DialContext(t.Context(), "tcp", p.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		assert.GreaterOrEqual(t, time.Since(start), delay)
		s, err := p.Accept()
		require.NoError(t, err)
		defer s.Close()
		requirePasses(t, c, s)
	})
}

func TestSlowHandshakeWithASmallWindow(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	eachSlow(t, func(t *testing.T, p *port) {
		s := slow(time.Millisecond)
		s.SmallWindow = true
		require.NoError(t, p.Become(s))
		client, server := requireServed(t, p)
		requireBlack(t, p)
		requireWindow(t, client, server, true)
	})
}

// Nobody can take the port while connects are completed from it, but in the microseconds of a bind
// and with SO_REUSEPORT, which net.Listen does not set. The kernel keeps what it knows of a port
// number for all addresses: a socket at another one must not change what we may bind.
func TestSlowHandshakeBesideTheSameNumber(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	eachSlow(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(slow(time.Millisecond)))
		for range 2 {
			c, err := dial(t, p, 20*time.Second)
			require.NoError(t, err)
			defer c.Close()
			s, err := p.Accept()
			require.NoError(t, err)
			defer s.Close()
			requireBlack(t, p)
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", (&net.TCPAddr{IP: manytests.OwnLoopback(), Port: p.addr.Port}).String())
			require.NoError(t, err)
			require.NoError(t, ln.Close())
		}
	})
}

func TestSlowHandshakeHoldsThePort(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	manytests.NeedsPlainTCP(t)
	eachSlow(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(slow(time.Millisecond)))
		stop := make(chan struct{})
		var thief sync.WaitGroup
		thief.Go(func() {
			var lc net.ListenConfig
			lc.SetMultipathTCP(false) // one attempt, not two
			for {
				select {
				case <-stop:
					return
				default:
				}
				ln, err := lc.Listen(t.Context(), "tcp", p.addr.String())
				if !assert.ErrorIs(t, err, syscall.EADDRINUSE) {
					_ = ln.Close()
					return
				}
			}
		})
		for range 8 {
			c, err := dial(t, p, 20*time.Second)
			require.NoError(t, err)
			s, err := p.Accept()
			require.NoError(t, err)
			_ = s.Close()
			_ = c.Close()
		}
		close(stop)
		thief.Wait()
		requireBlack(t, p)
		require.NoError(t, p.Become(refuse))
		requireRefused(t, p)
		require.NoError(t, p.Become(serve))
		requireServed(t, p)
	})
}

// BenchmarkSlowHandshake shows how late a connect completes that is to take 20 ms.
func BenchmarkSlowHandshake(b *testing.B) {
	const delay = 20 * time.Millisecond
	p, err := bindPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, canDrop(false))
	require.NoError(b, err)
	defer p.Close()
	require.NoError(b, p.Become(slow(delay)))
	var late []time.Duration
	for b.Loop() {
		start := time.Now()
		c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", p.addr.String())
		require.NoError(b, err)
		late = append(late, time.Since(start)-delay)
		s, err := p.Accept()
		require.NoError(b, err)
		_ = s.Close()
		_ = c.Close()
	}
	reportLateness(b, late)
}

// A hanging client is a socket whose connect is under way.
type hangingClient struct {
	fd    int
	began time.Time
}

// hang begins to connect to p; a mapped client does so from a socket of IPv6, as Java's are by
// default.
func hang(t *testing.T, p *port, mapped bool) hangingClient {
	t.Helper()
	family, to := unix.AF_INET, sockaddr(p.addr)
	if mapped {
		family, to = unix.AF_INET6, &syscall.SockaddrInet6{Port: p.addr.Port, Addr: [16]byte(p.addr.IP.To16())}
	}
	before, _, err := p.Dropped()
	require.NoError(t, err)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	c := hangingClient{fd, time.Now()}
	require.ErrorIs(t, syscall.Connect(fd, to), unix.EINPROGRESS)
	awaitDropped(t, p, before+1)
	return c
}

// connected waits up to d for the end of the connect.
func (c hangingClient) connected(t *testing.T, d time.Duration) bool {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
	for end := time.Now().Add(d); ; {
		n, err := unix.Poll(poll, max(0, int(time.Until(end).Milliseconds())+1))
		if err != unix.EINTR { // by the runtime's own signals
			require.NoError(t, err)
			return n > 0
		}
	}
}

// connects returns the connection, and how long the connect took.
func (c hangingClient) connects(t *testing.T) (net.Conn, time.Duration) {
	t.Helper()
	require.True(t, c.connected(t, 20*time.Second), "it hangs")
	took := time.Since(c.began)
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	require.NoError(t, err)
	require.Zero(t, errno)
	conn, err := connOf(c.fd)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, took
}

func slowPort(t *testing.T, delay time.Duration) *port {
	t.Helper()
	needDiag(t)
	manytests.NeedsMinTTL(t)
	require.True(t, canDrop(false))
	require.True(t, canOpen(false))
	p, err := bindPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, true)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	require.NoError(t, p.Become(slow(delay)))
	return p
}

// A client that dials ::ffff:127.0.0.1 is a client like any other, and is seen as one.
func TestSlowHandshakeServesMappedClients(t *testing.T) {
	t.Parallel()
	manytests.NeedsIPv6(t)
	const delay = 100 * time.Millisecond
	p := slowPort(t, delay)
	var machine reference.Watch
	machine.Begin(delay)
	defer machine.End()
	c := hang(t, p, true)
	clients, err := p.Clients()
	require.NoError(t, err)
	require.Len(t, clients, 1)
	if time.Since(c.began) < delay { // else it may be connected by now
		assert.Equal(t, "SYN-SENT", clients[0].Socket.State)
		assert.Positive(t, clients[0].Retry)
		assert.LessOrEqual(t, clients[0].Retry, clients[0].Socket.RTO)
	}

	client, took := c.connects(t)
	assert.GreaterOrEqual(t, took, delay)
	_, stalled := machine.Late(c.began, c.began.Add(took))
	assert.Less(t, took, time.Second+stalled, "it was a retransmission that connected")
	server, err := p.Accept()
	require.NoError(t, err)
	defer server.Close()
	requirePasses(t, client, server)
	assert.Equal(t, server.RemoteAddr().String(), clients[0].Addr.String())
	info, err := server.Info()
	require.NoError(t, err)
	require.NotNil(t, info.Other, "the client's end")
	assert.Equal(t, "ESTABLISHED", info.Other.State)
	requireBlack(t, p)
}

// Without descriptors no connect is completed early, and none is forgotten. Descriptors are the
// process's own.
func TestSlowHandshakeWithoutDescriptors(t *testing.T) {
	manytests.KernelTimer(t)
	if !manytests.Alone(t) {
		return
	}
	const delay = 1200 * time.Millisecond // the SYN is sent again before that
	for left := range 2 {                 // one for the connection, and one for package net's
		p := slowPort(t, delay)
		c := hang(t, p, false)
		t.Run("none", func(t *testing.T) {
			leaveDescriptors(t, left)
			if c.connected(t, time.Until(c.began.Add(delay+100*time.Millisecond))) {
				assert.Equal(t, 1, left, "there was a descriptor for it")
			}
		})
		client, took := c.connects(t)
		assert.GreaterOrEqual(t, took, delay)
		requireBlack(t, p)
		server, err := p.Accept()
		require.NoError(t, err)
		requirePasses(t, client, server)
		require.NoError(t, server.Close())
	}
}

// A probe that had no descriptors has found out nothing about the kernel.
func TestProbeWithoutDescriptorsIsTriedAgain(t *testing.T) {
	t.Parallel()
	var p probe
	assert.False(t, p.ask(func() (bool, error) { return false, os.NewSyscallError("socket", unix.EMFILE) }))
	assert.True(t, p.ask(func() (bool, error) { return true, nil }))
	assert.True(t, p.ask(func() (bool, error) { return false, nil }), "it is known")
}

// A change that fails leaves a slow handshake as it was.
func TestHandshakeOutlivesAFailedBecome(t *testing.T) {
	t.Parallel()
	eachSlow(t, func(t *testing.T, p *port) {
		const delay = 100 * time.Millisecond
		require.NoError(t, p.Become(slow(delay)))
		require.ErrorContains(t, p.Become(network.State{Answer: network.Listen, Backlog: 1 << 30}), "want at most")
		begin := time.Now()
		c, err := dial(t, p, 20*time.Second)
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begin), delay)
		require.NoError(t, c.Close())
	})
}
