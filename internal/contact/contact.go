// Package contact is what the fixtures and package sockettest share about whether the code under
// test has reached a fixture. It imports nothing of the project.
package contact

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// A Seen is what a fixture has seen of the code under test since a moment.
type Seen struct {
	Came    bool // it connected, sent, ended a connection, or tried to
	Served  bool // the fixture sent something on a connection that was open before
	Waiting bool // it has a connection, or a socket, from before: whoever only waits there leaves no trace
	Hidden  bool // it may have come without leaving a trace: the network does not show a connect that it refuses
	Exact   bool // the network shows all at once: what is not seen now did not happen
	Kernel  bool // the fixture is on the kernel's network

	Addrs []string // by which errors name the fixture, unless it came
	Asked bool     // it is a name server: an error that names a host or a name server says nothing of its address
	Signs string   // what would have been seen, such as "SYN or connection"
}

// And joins what two halves of one fixture have seen.
func (s Seen) And(o Seen) Seen {
	s.Came, s.Served, s.Waiting, s.Hidden = s.Came || o.Came, s.Served || o.Served, s.Waiting || o.Waiting, s.Hidden || o.Hidden
	s.Exact, s.Kernel, s.Asked = s.Exact && o.Exact, s.Kernel || o.Kernel, s.Asked || o.Asked
	s.Addrs = append(s.Addrs, o.Addrs...)
	return s
}

// Names reports whether an address in an error is the fixture's.
func (s Seen) Names(addr string) bool {
	return slices.ContainsFunc(s.Addrs, func(own string) bool { return same(own, addr) })
}

// same compares two addresses. One without an IP address is any; a name is the same with and
// without a port.
func same(own, addr string) bool {
	if own == addr || own == hostOf(addr) {
		return true
	}
	a, err1 := netip.ParseAddrPort(own)
	b, err2 := netip.ParseAddrPort(addr)
	if err1 != nil || err2 != nil || a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return x == y || x.IsUnspecified() || y.IsUnspecified()
}

// hostOf takes off the port and the final dot.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	return strings.TrimSuffix(addr, ".")
}

// A Count is what a port has met up to now.
type Count struct {
	Signs int  // connects, or datagrams, and whatever else clients did that it sees; it never falls
	Open  int  // connections that clients hold; where only the accept queue is known, those that wait in it
	All   bool // as it answers now, each connect is counted
}

// A Counter is a port that counts what it meets. Where the kernel does not tell, a port is none.
type Counter interface{ Met() Count }
