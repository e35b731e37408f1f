package simnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"example.com/go-sockettest/network"
)

var _ network.Stack = (*Network)(nil)

// Bind takes an address and holds it; see [network.Stack]. For unix sockets the error wraps
// [errors.ErrUnsupported].
func (n *Network) Bind(ctx context.Context, nw, address string) (network.Port, error) {
	return n.here.Bind(ctx, nw, address)
}

// BindPacket takes a UDP address and holds it; see [network.Stack].
func (n *Network) BindPacket(ctx context.Context, nw, address string) (network.PacketPort, error) {
	return n.here.BindPacket(ctx, nw, address)
}

// Listen listens as [net.ListenConfig.Listen] does, with the largest accept queue, for 4097
// connections. It returns a [*Listener]. An address that is not this machine's is EADDRNOTAVAIL.
func (n *Network) Listen(ctx context.Context, nw, address string) (net.Listener, error) {
	return n.here.Listen(ctx, nw, address)
}

// ListenPacket makes a UDP socket as [net.ListenConfig.ListenPacket] does. It returns a
// [*PacketConn].
func (n *Network) ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error) {
	return n.here.ListenPacket(ctx, nw, address)
}

// Dial is DialContext without a context.
func (n *Network) Dial(nw, address string) (net.Conn, error) {
	return n.here.DialContext(context.Background(), nw, address)
}

// DialContext connects as [net.Dialer.DialContext] does, to an IP address, localhost or a [Host]'s
// name, with keep-alive every 15 s. It returns a [*Conn], or for UDP a [*PacketConn].
func (n *Network) DialContext(ctx context.Context, nw, address string) (net.Conn, error) {
	return n.here.DialContext(ctx, nw, address)
}

// DialFrom is DialContext from a local address, as with [net.Dialer.LocalAddr].
func (n *Network) DialFrom(ctx context.Context, nw string, local net.Addr, address string) (net.Conn, error) {
	return n.here.DialFrom(ctx, nw, local, address)
}

// Connect connects for a client that misbehaves; see [network.Stack].
func (n *Network) Connect(ctx context.Context, nw, address string, o network.ConnectOptions) (network.Conn, error) {
	return n.here.Connect(ctx, nw, address, o)
}

// Connected returns the sockets that are connected to the network's own machine; see
// [Host.Connected].
func (n *Network) Connected() ([]network.Socket, error) { return n.here.Connected() }

var _ network.Stack = (*Host)(nil)

// Bind takes an address of the host and holds it; see [network.Stack]. Without an address it takes
// one that other hosts can reach. The network's own host takes one on loopback instead, as a real
// machine should in a test.
func (h *Host) Bind(ctx context.Context, nw, address string) (network.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	addr, err := h.bindAddr("tcp", nw, address)
	if err != nil {
		return nil, err
	}
	p, errno := h.bind("tcp", addr, false)
	if errno != 0 {
		return nil, bindError("tcp", addr, errno)
	}
	return &boundPort{p}, nil
}

// BindPacket takes a UDP address of the host and holds it; see [network.Stack] and [Host.Bind].
func (h *Host) BindPacket(ctx context.Context, nw, address string) (network.PacketPort, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	a, err := h.bindAddr("udp", nw, address)
	if err != nil {
		return nil, err
	}
	family := "udp4" // as the kernel's names itself in errors
	if a.Addr().Is6() {
		family = "udp6"
	}
	c, errno := h.bindPacket(family, a, netip.AddrPort{})
	if errno != 0 {
		return nil, bindError("udp", a, errno)
	}
	return c, nil
}

// Listen listens on this host as [Network.Listen] does on the network's own.
func (h *Host) Listen(ctx context.Context, nw, address string) (net.Listener, error) {
	l, err := h.listen(ctx, nw, address)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (h *Host) listen(ctx context.Context, nw, address string) (*Listener, error) {
	addrs, err := h.resolve("listen", nw, address)
	if err != nil {
		return nil, err
	}
	first := firstIPv4(addrs)
	if protocol, _ := protocolOf(nw); protocol != "tcp" {
		return nil, &net.OpError{Op: "listen", Net: nw, Addr: resolvedUDP(first), Err: &net.AddrError{Err: "unexpected address type", Addr: address}}
	}
	failed := &net.OpError{Op: "listen", Net: nw, Addr: resolvedTCP(first)}
	if failed.Err = contextError(ctx); failed.Err != nil {
		return nil, failed
	}
	l, err := h.listenAt(nw, first)
	if err != nil {
		failed.Err = err
		return nil, failed
	}
	return l, nil
}

// listenAt listens at a resolved address. Its error is bare.
func (h *Host) listenAt(nw string, a netip.AddrPort) (*Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	p, errno := h.bind(nw, a, true)
	if errno != 0 {
		return nil, syscallError("bind", errno)
	}
	p.become(network.State{Answer: network.Listen})
	return &Listener{p}, nil
}

// ListenPacket makes a UDP socket on this host as [Network.ListenPacket] does on the network's own.
func (h *Host) ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error) {
	addrs, err := h.resolve("listen", nw, address)
	if err != nil {
		return nil, err
	}
	first := firstIPv4(addrs)
	failed := &net.OpError{Op: "listen", Net: nw, Addr: resolvedUDP(first)}
	if protocol, _ := protocolOf(nw); protocol != "udp" {
		failed.Addr, failed.Err = resolvedTCP(first), &net.AddrError{Err: "unexpected address type", Addr: address}
		return nil, failed
	}
	if failed.Err = contextError(ctx); failed.Err != nil {
		return nil, failed
	}
	c, err := h.packetSocket(nw, first, netip.AddrPort{})
	if err != nil {
		failed.Err = err
		return nil, failed
	}
	return c, nil
}

// packetSocket makes a UDP socket with resolved addresses, connected unless to is the zero
// AddrPort. Its error is bare.
func (h *Host) packetSocket(nw string, local, to netip.AddrPort) (*PacketConn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if to.IsValid() {
		to = specified(nw, to)
		_, own := h.route(to.Addr())
		if !own.IsValid() {
			return nil, syscallError("connect", syscall.ENETUNREACH)
		}
		if ip := local.Addr(); ip.IsValid() && !ip.IsUnspecified() {
			own = ip
		}
		local = netip.AddrPortFrom(own, local.Port())
	}
	c, errno := h.bindPacket(nw, local, to)
	if errno != 0 {
		return nil, syscallError("bind", errno)
	}
	return c, nil
}

// Dial is DialContext without a context.
func (h *Host) Dial(nw, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), nw, address)
}

// DialContext connects from this host as [Network.DialContext] does from the network's own.
func (h *Host) DialContext(ctx context.Context, nw, address string) (net.Conn, error) {
	return h.DialFrom(ctx, nw, nil, address)
}

// DialFrom dials from this host as [Network.DialFrom] does from the network's own.
func (h *Host) DialFrom(ctx context.Context, nw string, local net.Addr, address string) (net.Conn, error) {
	if protocol, _ := protocolOf(nw); protocol == "udp" {
		return h.dialPacket(ctx, nw, local, address)
	}
	c, err := h.dial(ctx, nw, address, dialing{from: local})
	if err != nil {
		return nil, err
	}
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.alive.set(c, defaultKeepAlive)
	return c, nil
}

// dialPacket connects a UDP socket. Nothing is sent, so it succeeds even if nobody is there.
func (h *Host) dialPacket(ctx context.Context, nw string, from net.Addr, address string) (net.Conn, error) {
	addrs, err := h.resolve("dial", nw, address)
	if err != nil {
		return nil, err
	}
	addrs, local, err := suitable(nw, addrs, from)
	if err != nil {
		return nil, err
	}
	to := addrs[0]
	failed := &net.OpError{Op: "dial", Net: nw, Source: from, Addr: resolvedUDP(to)}
	if failed.Err = contextError(ctx); failed.Err != nil {
		return nil, failed
	}
	c, err := h.packetSocket(nw, local, specified(nw, to))
	if err != nil {
		failed.Err = err
		return nil, failed
	}
	return c, nil
}

// Connect connects for a client that misbehaves; see [network.Stack].
func (h *Host) Connect(ctx context.Context, nw, address string, o network.ConnectOptions) (network.Conn, error) {
	if protocol, _ := protocolOf(nw); protocol == "udp" {
		return nil, fmt.Errorf("network is %q; want tcp, tcp4 or tcp6, which have connections: %w", nw, net.UnknownNetworkError(nw))
	}
	c, err := h.dial(ctx, nw, address, dialing{small: o.SmallWindow})
	if err != nil {
		return nil, err
	}
	return c, nil
}
