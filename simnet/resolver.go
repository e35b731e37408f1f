package simnet

import (
	"net"
	"net/netip"

	"example.com/go-sockettest/internal/dnsanswer"
)

// Resolver returns a resolver that knows the names of the network's hosts, and nothing else: other names do not exist
// (NXDOMAIN). It takes no time and asks no server; package fixtures/dnsfault has servers that fail. Before it, [net.Resolver]
// asks /etc/hosts, as it does everywhere.
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
