package rawsock

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"

	"example.com/go-sockettest/network"
)

// A packetPort is a UDP socket that is bound by number: if it had its port from bind(0), it
// would lose it when it stops refusing.
type packetPort struct {
	*net.UDPConn
	mu       sync.Mutex // held by changes of what a datagram meets
	refusing bool

	reads sync.Mutex // held while a datagram is taken
	busy  bool       // with the latest one that was read: the next Read has yet to begin
}

var _ network.PacketPort = (*packetPort)(nil)

// packetTries bounds the search for a port that nobody takes between two binds.
const packetTries = 100

func bindPacket(ctx context.Context, a *net.TCPAddr) (network.PacketPort, error) {
	var c *net.UDPConn
	var err error
	for range packetTries {
		if c, err = bindPacketByNumber(ctx, a); a.Port != 0 || !addressInUse(err) {
			break
		}
	}
	if err != nil {
		return nil, explainBind(runtime.GOOS, a, err)
	}
	return &packetPort{UDPConn: c}, nil
}

// bindPacketByNumber has the kernel choose a port, and then asks for that one.
func bindPacketByNumber(ctx context.Context, a *net.TCPAddr) (*net.UDPConn, error) {
	c, err := listenPacket(ctx, a, a.Port)
	if err != nil || a.Port != 0 {
		return c, err
	}
	port := c.LocalAddr().(*net.UDPAddr).Port
	if err := c.Close(); err != nil {
		return nil, err
	}
	return listenPacket(ctx, a, port)
}

func listenPacket(ctx context.Context, a *net.TCPAddr, port int) (*net.UDPConn, error) {
	var lc net.ListenConfig
	nw := strings.Replace(tcpNetwork(a), "tcp", "udp", 1)
	c, err := lc.ListenPacket(ctx, nw, (&net.UDPAddr{IP: a.IP, Port: port}).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// Refuse makes datagrams meet ICMP port unreachable; see [network.PacketPort].
func (p *packetPort) Refuse() error { return p.change("refuse", refusePackets, true) }

// Serve lets datagrams arrive again.
func (p *packetPort) Serve() error { return p.change("serve", servePackets, false) }

func (p *packetPort) change(what string, f func(*net.UDPConn) error, refusing bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := f(p.UDPConn); err != nil {
		return fmt.Errorf("%s udp %s: %w", what, p.LocalAddr(), err)
	}
	p.refusing = refusing
	return nil
}

// Mechanism names what makes the port answer as it does now, for reports about a platform.
func (p *packetPort) Mechanism() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		return "connected to itself"
	}
	return "bound"
}
