package simnet

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"example.com/go-sockettest/network"
)

// BindPacket takes a UDP address and holds it; see [network.Stack].
func (n *Network) BindPacket(ctx context.Context, nw, address string) (network.PacketPort, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := loopbackAddr("udp", nw, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	family := "udp4" // as the kernel's names itself in errors
	if a.Addr().Is6() {
		family = "udp6"
	}
	c, errno := n.bindPacket(family, a, netip.AddrPort{})
	if errno != 0 {
		return nil, bindError("udp", a, errno)
	}
	return c, nil
}

// ListenPacket makes a UDP socket as [net.ListenConfig.ListenPacket] does. What it returns is a [*PacketConn].
func (n *Network) ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error) {
	addrs, err := resolve("listen", nw, address)
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
	n.mu.Lock()
	defer n.mu.Unlock()
	c, errno := n.bindPacket(nw, addrs[0], netip.AddrPort{})
	if errno != 0 {
		failed.Err = sys("bind", errno)
		return nil, failed
	}
	return c, nil
}

// dialPacket connects a UDP socket: nothing is sent, so that it succeeds though nobody is there.
func (n *Network) dialPacket(ctx context.Context, nw, address string) (net.Conn, error) {
	addrs, err := resolve("dial", nw, address)
	if err != nil {
		return nil, err
	}
	to := addrs[0]
	failed := &net.OpError{Op: "dial", Net: nw, Addr: askedPacket(to)}
	if failed.Err = endOf(ctx); failed.Err != nil {
		return nil, failed
	}
	own := loopback4
	if to.Addr().Is6() {
		own = loopback6
	}
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(own, to.Port())
	}
	errno := syscall.ENETUNREACH
	var c *PacketConn
	n.mu.Lock()
	defer n.mu.Unlock()
	if to.Addr().IsLoopback() {
		c, errno = n.bindPacket(nw, netip.AddrPortFrom(own, 0), to)
	}
	if errno != 0 {
		failed.Err = sys("connect", errno)
		return nil, failed
	}
	return c, nil
}

func askedPacket(a netip.AddrPort) *net.UDPAddr {
	tcp := asked(a)
	return &net.UDPAddr{IP: tcp.IP, Port: tcp.Port}
}
