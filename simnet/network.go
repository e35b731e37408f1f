package simnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/go-sockettest/network"
)

// A TB is what [New] needs of a [testing.TB].
type TB interface {
	Helper()
	Failed() bool
	Logf(format string, args ...any)
	Cleanup(func())
}

// A Network is one machine with its loopback, in memory. Whatever is bound on it can be reached from it, and from nowhere
// else; any address of 127.0.0.0/8 and ::1 will do, and the name localhost. Its methods may be called from any goroutine.
type Network struct {
	mu         sync.Mutex
	agenda     agenda
	latency    time.Duration
	holds      int                // of Hold
	held       []*event           // what is not part of a connection
	cuts       int                // of Partition
	flying     map[*Conn]struct{} // ends with something in the air
	spares     spares
	bound      map[uint16][]*port     // by port number
	conns      map[*Conn]struct{}     // sockets that are not over
	dials      map[*dial]struct{}     // connects that wait
	used       map[netip.AddrPort]int // local addresses of those two
	last       uint16                 // the ephemeral port that was given last
	packets    map[netip.AddrPort]*PacketConn
	lastPacket uint16
	ids        uint64 // of sockets
}

var _ network.Stack = (*Network)(nil)

// Linux's ephemeral ports (ip_local_port_range).
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// New returns a network with nothing on it. It needs no end: what nobody refers to is gone. If the test fails, its
// sockets are logged at the end, as ss(8) would list them; t may be nil.
func New(t TB) *Network {
	n := &Network{bound: map[uint16][]*port{}, conns: map[*Conn]struct{}{}, dials: map[*dial]struct{}{},
		used: map[netip.AddrPort]int{}, packets: map[netip.AddrPort]*PacketConn{},
		flying: map[*Conn]struct{}{}, last: firstEphemeral - 1}
	if t == nil {
		return n
	}
	t.Cleanup(func() {
		t.Helper()
		if left := n.Sockets(); t.Failed() && len(left) > 0 {
			t.Logf("simnet: sockets at the end:\n%s", strings.Join(left, "\n"))
		}
	})
	return n
}

// Bind takes an address and holds it; see [network.Stack]. Unix sockets are an error that wraps [errors.ErrUnsupported].
func (n *Network) Bind(ctx context.Context, nw, address string) (network.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	addr, err := loopbackAddr("tcp", nw, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p, errno := n.bind(addr, "tcp", false)
	if errno != 0 {
		return nil, bindError("tcp", addr, errno)
	}
	return &boundPort{p}, nil
}

// Listen listens as [net.ListenConfig.Listen] does: with the largest accept queue, for 4097 connections. Any address
// that is not this machine's is EADDRNOTAVAIL.
func (n *Network) Listen(ctx context.Context, nw, address string) (net.Listener, error) {
	l, err := n.listen(ctx, nw, address)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (n *Network) listen(ctx context.Context, nw, address string) (*Listener, error) {
	addrs, err := resolve("listen", nw, address)
	if err != nil {
		return nil, err
	}
	if protocol, _ := protocolOf(nw); protocol != "tcp" {
		return nil, &net.OpError{Op: "listen", Net: nw, Err: &net.AddrError{Err: "unexpected address type", Addr: address}}
	}
	failed := &net.OpError{Op: "listen", Net: nw, Addr: asked(addrs[0])}
	if failed.Err = endOf(ctx); failed.Err != nil {
		return nil, failed
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p, errno := n.bind(addrs[0], nw, nw == "tcp")
	if errno != 0 {
		failed.Err = sys("bind", errno)
		return nil, failed
	}
	p.become(network.State{Answer: network.Listen})
	return &Listener{p}, nil
}

// Dial is DialContext without a context.
func (n *Network) Dial(nw, address string) (net.Conn, error) {
	return n.DialContext(context.Background(), nw, address)
}

// DialContext connects as [net.Dialer.DialContext] does: to an IP address, or to localhost, and with keep-alive every 15 s.
// What it returns is a [*Conn], or for UDP a [*PacketConn].
func (n *Network) DialContext(ctx context.Context, nw, address string) (net.Conn, error) {
	if protocol, _ := protocolOf(nw); protocol == "udp" {
		return n.dialPacket(ctx, nw, address)
	}
	c, err := n.dial(ctx, nw, address, false)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive.set(c, defaultKeepAlive)
	return c, nil
}

// Connect connects for a client that misbehaves; see [network.Stack].
func (n *Network) Connect(ctx context.Context, nw, address string, o network.ConnectOptions) (network.Conn, error) {
	if protocol, _ := protocolOf(nw); protocol == "udp" {
		return nil, fmt.Errorf("network is %q; want tcp, tcp4 or tcp6, which have connections: %w", nw, net.UnknownNetworkError(nw))
	}
	c, err := n.dial(ctx, nw, address, o.SmallWindow)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// bind takes an address; port 0 is any free one. The caller holds mu.
func (n *Network) bind(a netip.AddrPort, nw string, dual bool) (*port, syscall.Errno) {
	switch ip := a.Addr(); {
	case !ip.IsLoopback() && !ip.IsUnspecified():
		return nil, syscall.EADDRNOTAVAIL
	case a.Port() == 0:
		free := n.ephemeral(ip)
		if free == 0 {
			return nil, syscall.EADDRINUSE
		}
		a = netip.AddrPortFrom(ip, free)
	}
	p := newPort(n, a, nw, dual)
	for _, other := range n.bound[a.Port()] {
		if other.overlaps(p) {
			return nil, syscall.EADDRINUSE
		}
	}
	n.bound[a.Port()] = append(n.bound[a.Port()], p)
	return p, 0
}

// ephemeral returns a port that nobody has on ip, the next in turn, so that each run of a program sees the same; 0 if
// there is none. The caller holds mu.
func (n *Network) ephemeral(ip netip.Addr) uint16 {
	for range lastEphemeral - firstEphemeral + 1 {
		if n.last++; n.last > lastEphemeral {
			n.last = firstEphemeral
		}
		if len(n.bound[n.last]) == 0 && n.used[netip.AddrPortFrom(ip, n.last)] == 0 {
			return n.last
		}
	}
	return 0
}

// release gives back the local address of a client. The caller holds mu.
func (n *Network) release(a netip.AddrPort) {
	if n.used[a]--; n.used[a] <= 0 {
		delete(n.used, a)
	}
}

// at returns the port that answers for an address, nil if nobody does: the most particular. The caller holds mu.
func (n *Network) at(a netip.AddrPort) *port {
	var found *port
	for _, p := range n.bound[a.Port()] {
		if p.answers(a.Addr()) && (found == nil || found.addr.Addr().IsUnspecified()) {
			found = p
		}
	}
	return found
}
