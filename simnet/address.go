package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// loopbackAddr is for Bind and BindPacket: a literal address, and empty for any port.
func loopbackAddr(protocol, nw, address string) (netip.AddrPort, error) {
	own := loopback4
	switch nw {
	case protocol, protocol + "4":
	case protocol + "6":
		own = loopback6
	case "unix":
		return netip.AddrPort{}, fmt.Errorf("simnet: network is %q, which it has not; want tcp, tcp4 or tcp6: %w", nw, errors.ErrUnsupported)
	default:
		return netip.AddrPort{}, fmt.Errorf("network is %q; want %s, %[2]s4 or %[2]s6: %[3]w", nw, protocol, net.UnknownNetworkError(nw))
	}
	if address == "" {
		return netip.AddrPortFrom(own, 0), nil
	}
	ap, err := netip.ParseAddrPort(address)
	switch example := netip.AddrPortFrom(own, 1717); {
	case err != nil:
		return ap, fmt.Errorf("address is %q; want an IP literal and a port, such as %s: %w", address, example, err)
	case !ap.Addr().IsLoopback():
		return ap, fmt.Errorf("address is %q; want one on loopback (127.0.0.0/8 or ::1)", address)
	case nw != protocol && ap.Addr().Is4() != (nw == protocol+"4"):
		return ap, fmt.Errorf("address is %q on network %q; want one of that family, such as %s", address, nw, example)
	}
	return ap, nil
}

func bindError(protocol string, a netip.AddrPort, e syscall.Errno) error {
	addr := net.Addr(net.TCPAddrFromAddrPort(a))
	if protocol == "udp" {
		addr = net.UDPAddrFromAddrPort(a)
	}
	err := error(&net.OpError{Op: "listen", Net: protocol, Addr: addr, Err: sys("bind", e)})
	if e == syscall.EADDRINUSE && a.Port() != 0 {
		return fmt.Errorf("%s is in use; choose another port, or none for any free one: %w", a, err)
	}
	return fmt.Errorf("bind %s: %w", a, err)
}

// protocolOf splits the name of a network.
func protocolOf(nw string) (protocol, family string) {
	switch nw {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return nw[:3], nw[3:]
	}
	return "", ""
}

// resolve turns an address into those that package net would try, in order, with its errors.
func resolve(op, nw, address string) ([]netip.AddrPort, error) {
	fail := func(err error) ([]netip.AddrPort, error) {
		return nil, &net.OpError{Op: op, Net: nw, Err: err}
	}
	protocol, family := protocolOf(nw)
	if protocol == "" {
		return fail(net.UnknownNetworkError(nw))
	}
	if address == "" && op == "dial" {
		return fail(&net.AddrError{Err: "missing address"})
	}
	host, service := "", "0"
	if address != "" {
		var err error
		if host, service, err = net.SplitHostPort(address); err != nil {
			return fail(err)
		}
	}
	number, err := portNumber(nw, service)
	if err != nil {
		return fail(err)
	}
	ips, err := lookup(op, family, host)
	if err != nil {
		return fail(err)
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip, number)
	}
	return addrs, nil
}

// portNumber asks package net only for names: they are in a table, and no resolver is asked.
func portNumber(nw, service string) (uint16, error) {
	if n, err := strconv.ParseUint(service, 10, 16); err == nil {
		return uint16(n), nil
	}
	n, err := net.LookupPort(nw, service)
	return uint16(n), err
}

// lookup finds a host's addresses of the family.
func lookup(op, family, host string) ([]netip.Addr, error) {
	var all []netip.Addr
	switch {
	case host == "" && op == "listen":
		all = []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}
	case host == "" || host == "localhost":
		all = []netip.Addr{loopback4, loopback6}
	default:
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		all = []netip.Addr{ip.Unmap()}
	}
	var some []netip.Addr
	for _, ip := range all {
		if family == "" || ip.Is4() == (family == "4") {
			some = append(some, ip)
		}
	}
	if len(some) == 0 {
		return nil, &net.AddrError{Err: "no suitable address found", Addr: host}
	}
	return some, nil
}

// asked is an address as package net has it in the error of a dial or a listen: resolved, in 16 bytes. That of a socket has 4.
func asked(a netip.AddrPort) *net.TCPAddr {
	ip := a.Addr().As16()
	return &net.TCPAddr{IP: ip[:], Port: int(a.Port())}
}
