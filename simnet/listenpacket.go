package simnet

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"example.com/go-sockettest/network"
)

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

// ListenPacket makes a UDP socket on this host as [Network.ListenPacket] does on the network's own.
func (h *Host) ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error) {
	addrs, err := h.resolve("listen", nw, address)
	if err != nil {
		return nil, err
	}
	failed := &net.OpError{Op: "listen", Net: nw, Addr: askedPacket(addrs[0])}
	if protocol, _ := protocolOf(nw); protocol != "udp" {
		failed.Addr, failed.Err = nil, &net.AddrError{Err: "unexpected address type", Addr: address}
		return nil, failed
	}
	if failed.Err = endOf(ctx); failed.Err != nil {
		return nil, failed
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	c, errno := h.bindPacket(nw, addrs[0], netip.AddrPort{})
	if errno != 0 {
		failed.Err = sys("bind", errno)
		return nil, failed
	}
	return c, nil
}

// dialPacket connects a UDP socket: nothing is sent, so that it succeeds though nobody is there.
func (h *Host) dialPacket(ctx context.Context, nw, address string) (net.Conn, error) {
	addrs, err := h.resolve("dial", nw, address)
	if err != nil {
		return nil, err
	}
	to := addrs[0]
	failed := &net.OpError{Op: "dial", Net: nw, Addr: askedPacket(to)}
	if failed.Err = endOf(ctx); failed.Err != nil {
		return nil, failed
	}
	to = specified(to)
	errno := syscall.ENETUNREACH
	var c *PacketConn
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if _, own := h.route(to.Addr()); own.IsValid() {
		c, errno = h.bindPacket(nw, netip.AddrPortFrom(own, 0), to)
	}
	if errno != 0 {
		failed.Err = sys("connect", errno)
		return nil, failed
	}
	return c, nil
}

// specified puts the family's loopback in the place of the unspecified address, as connect(2) does.
func specified(a netip.AddrPort) netip.AddrPort {
	switch {
	case !a.Addr().IsUnspecified():
		return a
	case a.Addr().Is4():
		return netip.AddrPortFrom(loopback4, a.Port())
	}
	return netip.AddrPortFrom(loopback6, a.Port())
}

func askedPacket(a netip.AddrPort) *net.UDPAddr {
	tcp := asked(a)
	return &net.UDPAddr{IP: tcp.IP, Port: tcp.Port}
}
