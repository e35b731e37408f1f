package simnet

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Host is a machine on a [Network]: it has a name, addresses, and a loopback that no other
// machine reaches. It implements [network.Stack]: a fixture that is started on it listens at its
// address, and what it dials comes from there. Its methods may be called from any goroutine.
type Host struct {
	n          *Network
	name       string
	ip4, ip6   netip.Addr         // to the outside; zero without
	bound      map[uint16][]*port // by port number
	used       map[netip.AddrPort]int
	last       uint16                   // the ephemeral port that was given last
	packets    map[uint16][]*PacketConn // by port number
	lastPacket uint16
	senders    map[sender]int // how many there were of each, whose n is 0
}

// localhost is the name by which each machine knows itself.
const localhost = "localhost"

// Linux's ephemeral ports (ip_local_port_range).
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

func (n *Network) newHost(name string) *Host {
	return &Host{n: n, name: name, bound: map[uint16][]*port{}, used: map[netip.AddrPort]int{},
		packets: map[uint16][]*PacketConn{}, senders: map[sender]int{}, last: firstEphemeral - 1}
}

// Host returns the machine of that name. The first call makes it, with the addresses given: one of
// IPv4, one of IPv6, or one of each. Without addresses it gets the next of 10.0.0.0/8 and of
// fd00::/8. The name "localhost" is the Network itself. Each host reaches every other by address
// and by name. A name or an address that is bad or taken is fatal to the test.
func (n *Network) Host(name string, addrs ...string) *Host {
	n.mu.Lock()
	h, err := n.host(name, addrs)
	n.mu.Unlock()
	if err != nil {
		n.fatal(err)
	}
	return h
}

func (n *Network) host(name string, addrs []string) (*Host, error) {
	n.giveOwnAddresses()
	if h := n.hosts[name]; h != nil {
		if len(addrs) > 0 {
			return nil, fmt.Errorf("simnet: Host(%q, %q): it is there already; want no addresses, or another name", name, addrs)
		}
		return h, nil
	}
	if _, err := netip.ParseAddr(name); err == nil || !isName(name) {
		return nil, fmt.Errorf("simnet: Host(%q): want a name of letters, digits, dots and hyphens, such as \"db\" or \"db.example\"", name)
	}
	h := n.newHost(name)
	if err := n.address(h, addrs); err != nil {
		return nil, fmt.Errorf("simnet: Host(%q, %q): %w", name, addrs, err)
	}
	n.add(h)
	return h, nil
}

// giveOwnAddresses gives the network's own machine its addresses, once there is another to reach
// it.
func (n *Network) giveOwnAddresses() {
	if !n.here.ip4.IsValid() {
		n.here.ip4, n.here.ip6 = n.nextAddrs()
		n.add(n.here)
	}
}

func (n *Network) add(h *Host) {
	n.hosts[h.name] = h
	for _, ip := range []netip.Addr{h.ip4, h.ip6} {
		if ip.IsValid() {
			n.addrs[ip] = h
		}
	}
}

// nextAddrs returns 10.0.0.1 and fd00::1, then 10.0.0.2 and fd00::2, and so on.
func (n *Network) nextAddrs() (ip4, ip6 netip.Addr) {
	if !n.lastIP4.IsValid() {
		n.lastIP4, n.lastIP6 = netip.AddrFrom4([4]byte{10}), netip.MustParseAddr("fd00::")
	}
	for taken := true; taken; {
		n.lastIP4, n.lastIP6 = n.lastIP4.Next(), n.lastIP6.Next()
		taken = n.addrs[n.lastIP4] != nil || n.addrs[n.lastIP6] != nil
	}
	return n.lastIP4, n.lastIP6
}

// address gives a host its addresses.
func (n *Network) address(h *Host, addrs []string) error {
	if len(addrs) == 0 {
		h.ip4, h.ip6 = n.nextAddrs()
	}
	for _, s := range addrs {
		ip, err := netip.ParseAddr(s)
		ip = ip.Unmap()
		own := &h.ip4
		if ip.Is6() {
			own = &h.ip6
		}
		switch {
		case err != nil:
			return fmt.Errorf("address is %q; want an IP literal, such as 10.1.2.3: %w", s, err)
		case !ip.IsGlobalUnicast() || ip.Zone() != "":
			return fmt.Errorf("address is %q; want one that other machines can reach, such as 10.1.2.3", s)
		case n.addrs[ip] != nil:
			return fmt.Errorf("address %s is that of host %q; choose another", s, n.addrs[ip].name)
		case own.IsValid():
			return fmt.Errorf("addresses %s and %s are of one family; want one of each at most", *own, ip)
		}
		*own = ip
	}
	return nil
}

func isName(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.') {
			return false
		}
	}
	return s != ""
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Addr returns the host's IPv4 address, or its IPv6 address if it has no other.
func (h *Host) Addr() netip.Addr {
	if h.ip4.IsValid() {
		return h.ip4
	}
	return h.ip6
}

// Addr6 returns the host's IPv6 address, or the zero Addr if it has none.
func (h *Host) Addr6() netip.Addr { return h.ip6 }

// String returns the name and the addresses.
func (h *Host) String() string {
	switch {
	case !h.ip4.IsValid() && !h.ip6.IsValid():
		return h.name
	case !h.ip6.IsValid() || !h.ip4.IsValid():
		return fmt.Sprintf("%s (%v)", h.name, h.Addr())
	}
	return fmt.Sprintf("%s (%v, %v)", h.name, h.ip4, h.ip6)
}

// own returns the host's address from which it sends to ip, of the same family; the zero Addr if it
// has none.
func (h *Host) own(ip netip.Addr) netip.Addr {
	switch {
	case ip.IsLoopback() && ip.Is4():
		return loopback4
	case ip.IsLoopback():
		return loopback6
	case ip.Is4():
		return h.ip4
	}
	return h.ip6
}

// has reports whether ip is one of the host's addresses.
func (h *Host) has(ip netip.Addr) bool { return ip.IsLoopback() || ip == h.ip4 || ip == h.ip6 }

// route finds the machine with an address, and the address to connect to it from.
func (h *Host) route(ip netip.Addr) (to *Host, from netip.Addr) {
	if from = h.own(ip); !from.IsValid() {
		return nil, from
	}
	if h.has(ip) {
		return h, from
	}
	return h.n.addrs[ip], from
}

// A binding is an address that a socket has bound.
type binding struct {
	addr netip.AddrPort
	dual bool // it is ::, and IPv4's as well
}

// answers reports whether what is sent to an address meets the socket.
func (b binding) answers(ip netip.Addr) bool {
	own := b.addr.Addr()
	return own == ip || own.IsUnspecified() && (own.Is4() == ip.Is4() || b.dual)
}

// overlaps reports whether the two, of one port, cannot be bound at once.
func (b binding) overlaps(c binding) bool {
	return b.answers(c.addr.Addr()) || c.answers(b.addr.Addr())
}

// next numbers those that are called alike.
func (h *Host) next(s sender) sender {
	h.senders[s]++
	s.n = h.senders[s]
	return s
}

// ephemeral returns a port that nobody has where b is, or 0 if there is none. It is the next in
// turn, so that each run of a program sees the same.
func (h *Host) ephemeral(b binding) uint16 {
	for range lastEphemeral - firstEphemeral + 1 {
		if h.last++; h.last > lastEphemeral {
			h.last = firstEphemeral
		}
		b.addr = netip.AddrPortFrom(b.addr.Addr(), h.last)
		if len(h.bound[h.last]) == 0 && !h.clientHas(b) {
			return h.last
		}
	}
	return 0
}

// remove takes a socket from those of a port number.
func remove[S comparable](from map[uint16][]S, number uint16, s S) {
	left := slices.DeleteFunc(from[number], func(other S) bool { return other == s })
	if from[number] = left; len(left) == 0 {
		delete(from, number)
	}
}

// clientHas reports whether a client of TCP has an address of b.
func (h *Host) clientHas(b binding) bool {
	for _, ip := range [...]netip.Addr{b.addr.Addr(), loopback4, loopback6, h.ip4, h.ip6} {
		if ip.IsValid() && b.answers(ip) && h.used[netip.AddrPortFrom(ip, b.addr.Port())] > 0 {
			return true
		}
	}
	return false
}

// release gives back the local address of a client.
func (h *Host) release(a netip.AddrPort) {
	if h.used[a]--; h.used[a] <= 0 {
		delete(h.used, a)
	}
}
