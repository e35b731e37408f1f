package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"example.com/go-sockettest/internal/dnsanswer"
)

// bindAddr reads the address of a Bind or BindPacket: a literal, or the host's name and a port.
// Empty means any port.
func (h *Host) bindAddr(protocol, nw, address string) (netip.AddrPort, error) {
	own, own6 := loopback4, loopback6
	if h != h.n.here {
		own, own6 = h.ip4, h.ip6
	}
	switch nw {
	case protocol:
		if !own.IsValid() {
			own = own6
		}
	case protocol + "4":
	case protocol + "6":
		own = own6
	case "unix":
		return netip.AddrPort{}, fmt.Errorf("simnet: unknown network %q; want tcp, tcp4 or tcp6: %w", nw, errors.ErrUnsupported)
	default:
		return netip.AddrPort{}, fmt.Errorf("network is %q; want %s, %[2]s4 or %[2]s6: %[3]w", nw, protocol, net.UnknownNetworkError(nw))
	}
	if !own.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("network is %q, and host %v has no address of that family: %w", nw, h, syscall.EADDRNOTAVAIL)
	}
	if address == "" {
		return netip.AddrPortFrom(own, 0), nil
	}
	return h.literal(protocol, nw, address, own)
}

// literal reads an address of the host.
func (h *Host) literal(protocol, nw, address string, own netip.Addr) (netip.AddrPort, error) {
	if name, number, ok := strings.Cut(address, ":"); ok && name == h.name && h != h.n.here {
		address = net.JoinHostPort(own.String(), number)
	}
	ap, err := netip.ParseAddrPort(address)
	switch example := netip.AddrPortFrom(own, 1717); {
	case err != nil:
		return ap, fmt.Errorf("address is %q; want an IP literal and a port, such as %s: %w", address, example, err)
	case h == h.n.here && !ap.Addr().IsLoopback() && ap.Addr() != h.ip4 && ap.Addr() != h.ip6:
		return ap, fmt.Errorf("address is %q; want one on loopback (127.0.0.0/8 or ::1)", address)
	case !h.has(ap.Addr()):
		return ap, fmt.Errorf("address is %q; want one of host %v, such as %s", address, h, example)
	case nw != protocol && ap.Addr().Is4() != (nw == protocol+"4"):
		return ap, fmt.Errorf("address is %q on network %q; want one of that family, such as %s", address, nw, example)
	}
	return ap, nil
}

// protocolOf splits the name of a network into protocol and family.
func protocolOf(nw string) (protocol, family string) {
	switch nw {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return nw[:3], nw[3:]
	}
	return "", ""
}

// resolve returns the addresses that package net would try, in order, and its errors.
func (h *Host) resolve(op, nw, address string) ([]netip.AddrPort, error) {
	fail := func(err error) ([]netip.AddrPort, error) {
		return nil, &net.OpError{Op: op, Net: nw, Err: err}
	}
	protocol, family := protocolOf(nw)
	if protocol == "" {
		return fail(net.UnknownNetworkError(nw))
	}
	if address == "" && op == "dial" {
		return fail(errMissingAddress)
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
	ips, err := h.lookup(family, host)
	if err != nil {
		return fail(err)
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip, number)
	}
	return addrs, nil
}

// suitable returns those addresses that can be dialled from a local one, and that one without its
// type; the zero AddrPort if it is nil.
func suitable(nw string, addrs []netip.AddrPort, from net.Addr) (some []netip.AddrPort, local netip.AddrPort, err error) {
	protocol, _ := protocolOf(nw)
	switch a := from.(type) {
	case nil:
		return addrs, local, nil
	case *net.TCPAddr:
		local = a.AddrPort()
	case *net.UDPAddr:
		local = a.AddrPort()
	}
	if from.Network() != protocol {
		return nil, local, &net.OpError{Op: "dial", Net: nw, Err: &net.AddrError{Err: "mismatched local address type", Addr: from.String()}}
	}
	ip := local.Addr().Unmap()
	local = netip.AddrPortFrom(ip, local.Port())
	if !ip.IsValid() || ip.IsUnspecified() {
		return addrs, local, nil
	}
	for _, a := range addrs {
		if a.Addr().Is4() == ip.Is4() || !a.Addr().IsValid() {
			some = append(some, a)
		}
	}
	if len(some) == 0 {
		return nil, local, &net.OpError{Op: "dial", Net: nw, Err: &net.AddrError{Err: "no suitable address found", Addr: from.String()}}
	}
	return some, local, nil
}

// firstIPv4 returns the one that package net listens on.
func firstIPv4(addrs []netip.AddrPort) netip.AddrPort {
	return addrs[max(0, slices.IndexFunc(addrs, func(a netip.AddrPort) bool { return a.Addr().Is4() }))]
}

// portNumber looks a port up by name in package net's table; no resolver is asked.
func portNumber(nw, service string) (uint16, error) {
	if n, err := strconv.ParseUint(service, 10, 16); err == nil {
		return uint16(n), nil
	}
	n, err := net.LookupPort(nw, service)
	return uint16(n), err
}

// lookup returns the addresses of that name, of the family. No name is no address: the zero Addr.
func (h *Host) lookup(family, name string) ([]netip.Addr, error) {
	var all []netip.Addr
	switch {
	case name == "":
		return []netip.Addr{{}}, nil
	case strings.EqualFold(name, localhost):
		all = []netip.Addr{loopback4, loopback6}
	case name == "::":
		all = []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}
	default:
		ip, err := netip.ParseAddr(name)
		if all = []netip.Addr{ip.Unmap()}; err != nil {
			all = h.n.byName(name)
			h.sort(all)
		}
		if len(all) == 0 {
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
	}
	var some []netip.Addr
	for _, ip := range all {
		if family == "" || ip.Is4() == (family == "4") {
			some = append(some, ip)
		}
	}
	if len(some) == 0 {
		return nil, &net.AddrError{Err: "no suitable address found", Addr: name}
	}
	return some, nil
}

// sort puts IPv6 first where both ends have an IPv6 address outside fd00::/8: RFC 6724 prefers IPv4
// to those.
func (h *Host) sort(addrs []netip.Addr) {
	if len(addrs) == 2 && h.ip6.IsValid() && !h.ip6.IsPrivate() && !addrs[1].IsPrivate() {
		slices.Reverse(addrs)
	}
}

// byName returns the addresses of the host of that name, which may end in a dot and be in capitals.
func (n *Network) byName(name string) (addrs []netip.Addr) {
	name = strings.TrimSuffix(name, ".")
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	for known, other := range n.hosts {
		if h == nil && strings.EqualFold(known, name) {
			h = other
		}
	}
	if h == nil {
		return nil
	}
	for _, ip := range []netip.Addr{h.ip4, h.ip6} {
		if ip.IsValid() {
			addrs = append(addrs, ip)
		}
	}
	return addrs
}

// specified returns what connect(2) makes of an address: an unspecified one is the family's
// loopback.
func specified(nw string, a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().WithZone("")
	switch {
	case ip == netip.IPv4Unspecified(), !ip.IsValid() && !strings.HasSuffix(nw, "6"):
		ip = loopback4
	case ip == netip.IPv6Unspecified(), !ip.IsValid():
		ip = loopback6
	}
	return netip.AddrPortFrom(ip, a.Port())
}

// bindingOf returns what package net binds for an address without IP, or with one, on a network.
func bindingOf(nw string, a netip.AddrPort) binding {
	ip, dual := a.Addr().WithZone(""), false
	if !ip.IsValid() || ip.IsUnspecified() {
		switch _, family := protocolOf(nw); family {
		case "4":
			ip = netip.IPv4Unspecified()
		default:
			ip, dual = netip.IPv6Unspecified(), family == ""
		}
	}
	return binding{netip.AddrPortFrom(ip, a.Port()), dual}
}

// Resolver returns a resolver that knows the names of the network's hosts and no others: those do
// not exist (NXDOMAIN). It answers at once and asks no server; package fixtures/dnsfault has
// servers that fail. As everywhere, [net.Resolver] asks /etc/hosts first.
func (n *Network) Resolver() *net.Resolver {
	return dnsanswer.Resolver(func(name string) dnsanswer.Reply {
		if name == localhost {
			return dnsanswer.Reply{Addrs: []netip.Addr{loopback4, loopback6}}
		}
		addrs := n.byName(name)
		if len(addrs) == 0 {
			return dnsanswer.NoSuchName
		}
		return dnsanswer.Reply{Addrs: addrs}
	})
}
