package simnet

import (
	"net"
	"net/netip"
	"syscall"
)

// What *net.UDPConn has beyond net.Conn and net.PacketConn.

// ReadFrom takes the next datagram. What does not fit into b is lost.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDP(b)
	if err != nil {
		return n, nil, err
	}
	return n, from, nil
}

// ReadFromUDP is ReadFrom with the address as a [*net.UDPAddr].
func (c *PacketConn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom with the address as a [netip.AddrPort].
func (c *PacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, d, err := c.receive(b, "recvfrom")
	return n, c.sees(d.from), err
}

// ReadMsgUDP is ReadFromUDP with flags: 0x20, Linux's MSG_TRUNC, if the datagram did not fit.
// Nothing is written to oob.
func (c *PacketConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, oobn, flags, from, err := c.ReadMsgUDPAddrPort(b, oob)
	if from.IsValid() {
		addr = net.UDPAddrFromAddrPort(from)
	}
	return n, oobn, flags, addr, err
}

// ReadMsgUDPAddrPort is ReadMsgUDP with the address as a [netip.AddrPort].
func (c *PacketConn) ReadMsgUDPAddrPort(b, _ []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	n, d, err := c.receive(b, "recvmsg")
	if n < len(d.data) {
		flags = 0x20
	}
	return n, 0, flags, c.sees(d.from), err
}

// sees returns an address as the socket sees it: one of IPv4 is mapped in a socket of IPv6.
func (c *PacketConn) sees(a netip.AddrPort) netip.AddrPort {
	if c.addr.Addr().Is6() && a.IsValid() {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a
}

// WriteTo sends a datagram. A connected socket uses Write instead.
func (c *PacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", addr, syscall.EINVAL)
	}
	return c.WriteToUDP(b, to)
}

// WriteToUDP is WriteTo for a [*net.UDPAddr].
func (c *PacketConn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	if c.remote.IsValid() {
		return 0, c.opError("write", opAddr(addr), net.ErrWriteToConnected)
	}
	return c.sendTo(b, addr, opAddr(addr), "sendto")
}

// WriteToUDPAddrPort is WriteTo for a [netip.AddrPort].
func (c *PacketConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	if c.remote.IsValid() {
		return 0, c.opError("write", addrPort{addr}, net.ErrWriteToConnected)
	}
	return c.sendTo(b, udpAddr(addr), addrPort{addr}, "sendto")
}

// WriteMsgUDP is WriteToUDP, or, without an address, Write. What is in oob is ignored.
func (c *PacketConn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	return c.sendMsg(b, oob, addr, opAddr(addr))
}

// WriteMsgUDPAddrPort is WriteMsgUDP for a [netip.AddrPort].
func (c *PacketConn) WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error) {
	return c.sendMsg(b, oob, udpAddr(addr), addrPort{addr})
}

func (c *PacketConn) sendMsg(b, oob []byte, addr *net.UDPAddr, named net.Addr) (n, oobn int, err error) {
	if n, err = c.sendTo(b, addr, named, "sendmsg"); err != nil {
		return 0, 0, err
	}
	return n, len(oob), nil
}

// sendTo sends to addr, or to where the socket is connected to if that is nil. Errors name it as
// named.
func (c *PacketConn) sendTo(b []byte, addr *net.UDPAddr, named net.Addr, call string) (int, error) {
	to, err := c.remote, error(nil)
	switch {
	case to.IsValid() && addr != nil:
		err = net.ErrWriteToConnected
	case addr != nil:
		to, err = c.reads(addr)
	case !to.IsValid():
		err = errMissingAddress
	}
	if err != nil {
		return 0, c.opError("write", named, err)
	}
	return c.send(b, to, named, call)
}

// reads returns an address as package net passes it to a socket of this one's family.
func (c *PacketConn) reads(a *net.UDPAddr) (netip.AddrPort, error) {
	ip, ok := netip.AddrFromSlice(a.IP)
	ip = ip.Unmap()
	switch is4 := c.addr.Addr().Is4(); {
	case is4 && len(a.IP) == 0:
		ip = netip.IPv4Unspecified()
	case is4 && !ip.Is4():
		return netip.AddrPort{}, &net.AddrError{Err: "non-IPv4 address", Addr: a.IP.String()}
	case !is4 && (len(a.IP) == 0 || ip == netip.IPv4Unspecified()):
		ip = netip.IPv6Unspecified()
	case !ok:
		return netip.AddrPort{}, &net.AddrError{Err: "non-IPv6 address", Addr: a.IP.String()}
	}
	return netip.AddrPortFrom(ip, uint16(a.Port)), nil
}

// udpAddr is nil for an address that is not valid.
func udpAddr(a netip.AddrPort) *net.UDPAddr {
	if !a.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(a)
}

// opAddr is a in an error: a nil net.Addr if it is nil.
func opAddr(a *net.UDPAddr) net.Addr {
	if a == nil {
		return nil
	}
	return a
}

// An addrPort is an address in an error of a method that takes a netip.AddrPort.
type addrPort struct{ netip.AddrPort }

// Network implements [net.Addr].
func (addrPort) Network() string { return "udp" }

// SetReadBuffer sets SO_RCVBUF, of which Linux uses the double: the memory for datagrams that wait
// for a reader.
func (c *PacketConn) SetReadBuffer(bytes int) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.setError(net.ErrClosed)
	}
	c.room = max(2*bytes, smallReceive)
	return nil
}

// SetWriteBuffer changes nothing: a datagram never waits on this side.
func (c *PacketConn) SetWriteBuffer(int) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.setError(net.ErrClosed)
	}
	return nil
}
