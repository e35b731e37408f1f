package rawsock

import (
	"context"
	"io"
	"net"
	"runtime"
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
		{"IPv4 min TTL", manytests.OwnLoopback(), true},
		{"IPv6 min TTL", net.IPv6loopback, true},
		{"IPv4 full queue", manytests.OwnLoopback(), false},
		{"IPv6 full queue", net.IPv6loopback, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needs(t, tt.ip.To4() == nil)
			if tt.minTTL && tt.ip.To4() != nil {
				manytests.NeedsMinTTL(t)
			}
			p, err := bindPort(&net.TCPAddr{IP: tt.ip}, tt.minTTL)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, p.Close()) })
			f(t, p)
		})
	}
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
		for range manytests.Rounds(200) {
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
		for i := range manytests.Rounds(rounds) {
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
	manytests.NeedsDescriptors(t, 1200)
	ip := manytests.OwnLoopback()
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

// What fills a port's own accept queue is nobody's client.
func TestClientsAreOthers(t *testing.T) {
	t.Parallel()
	needDiag(t)
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(drop))
		clients, err := p.Clients()
		require.NoError(t, err)
		assert.Empty(t, clients)
	})
}
