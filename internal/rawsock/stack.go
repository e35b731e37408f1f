package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"example.com/go-sockettest/network"
)

// Loopback is the kernel's loopback network. It binds and dials loopback addresses only.
type Loopback struct{}

var _ network.Stack = Loopback{}

// Bind takes a loopback address and holds it. The network is "tcp", "tcp4" or "tcp6", and the
// address a literal such as "127.0.0.1:1717", or empty for any free port of the family; or it is
// "unix", and the address a path.
func (Loopback) Bind(ctx context.Context, nw, address string) (network.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if nw == "unix" {
		return bindUnix(address)
	}
	addr, err := loopbackAddr(nw, address)
	if err != nil {
		return nil, err
	}
	return pastForks(nw, address, true, func() (network.Port, error) { return bind(ctx, addr) })
}

// BindPacket takes a loopback address and holds it; see [network.Stack].
func (Loopback) BindPacket(ctx context.Context, nw, address string) (network.PacketPort, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tcp, ok := map[string]string{"udp": "tcp", "udp4": "tcp4", "udp6": "tcp6"}[nw]
	if !ok {
		return nil, fmt.Errorf("network is %q; want udp, udp4 or udp6: %w", nw, net.UnknownNetworkError(nw))
	}
	addr, err := loopbackAddr(tcp, address)
	if err != nil {
		return nil, err
	}
	return pastForks(nw, address, false, func() (network.PacketPort, error) { return bindPacket(ctx, addr) })
}

// DialContext connects to a loopback address, as [net.Dialer.DialContext] does.
func (Loopback) DialContext(ctx context.Context, nw, address string) (net.Conn, error) {
	if err := reachable(nw, address); err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, nw, address)
}

// Listen listens on a loopback address, as [net.ListenConfig.Listen] does.
func (Loopback) Listen(ctx context.Context, nw, address string) (net.Listener, error) {
	if err := reachable(nw, address); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	return pastForks(nw, address, true, func() (net.Listener, error) { return lc.Listen(ctx, nw, address) })
}

// ListenPacket makes a UDP socket on a loopback address, as [net.ListenConfig.ListenPacket] does.
func (Loopback) ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error) {
	if err := reachable(nw, address); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	return pastForks(nw, address, false, func() (net.PacketConn, error) { return lc.ListenPacket(ctx, nw, address) })
}

// Connect connects to a loopback address, for a client that misbehaves; see [network.Stack].
func (Loopback) Connect(ctx context.Context, nw, address string, o network.ConnectOptions) (network.Conn, error) {
	if err := reachable(nw, address); err != nil {
		return nil, err
	}
	if nw == "unix" && o.SmallWindow {
		return nil, fmt.Errorf("ConnectOptions.SmallWindow is true on network %q; want tcp, tcp4 or tcp6: %w", nw, errors.ErrUnsupported)
	}
	d := net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(false) // it refuses the options
	if o.SmallWindow {
		d.Control = func(_, _ string, raw syscall.RawConn) error { return onFD(raw, shrinkWindow) }
	}
	c, err := d.DialContext(ctx, nw, address)
	if err != nil {
		return nil, err
	}
	switch c := c.(type) {
	case *net.UnixConn:
		return &unixConn{UnixConn: c}, nil
	case *net.TCPConn:
		return plain(c)
	}
	_ = c.Close()
	return nil, fmt.Errorf("network is %q; want tcp, tcp4, tcp6 or unix, which have connections: %w", nw, net.UnknownNetworkError(nw))
}

// Connected returns the sockets that this process has open; see [network.Stack].
func (Loopback) Connected() ([]network.Socket, error) {
	all, err := Sockets()
	found := make([]network.Socket, 0, len(all))
	for _, s := range all {
		if _, ours := fillers.Load([2]string{s.Local, s.Remote}); !ours {
			found = append(found, network.Socket{Number: s.Inode, Local: named(s.Local), Remote: named(s.Remote), State: s.State})
		}
	}
	return found, err
}

// fillers are the clients with which ports fill their own accept queues, by both addresses.
var fillers sync.Map

// named leaves out "@", which is what the address of an unnamed unix socket reads.
func named(address string) string {
	if address == "@" {
		return ""
	}
	return address
}

// reachable refuses to dial what is not on this machine.
func reachable(nw, address string) error {
	switch nw {
	case "unix":
		return nil
	case "udp", "udp4", "udp6":
		nw = "tcp" + nw[len("udp"):] // the same addresses
	}
	_, err := loopbackAddr(nw, address)
	return err
}

// loopbackAddr parses a literal address and refuses any that is not on loopback: a test kit has
// no business beyond it.
func loopbackAddr(nw, address string) (*net.TCPAddr, error) {
	var any netip.Addr
	switch nw {
	case "tcp", "tcp4":
		any = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case "tcp6":
		any = netip.IPv6Loopback()
	default:
		return nil, fmt.Errorf("network is %q; want tcp, tcp4, tcp6 or unix: %w", nw, net.UnknownNetworkError(nw))
	}
	if address == "" {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(any, 0)), nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("address is %q; want an IP literal and a port, such as %s: %w",
			address, netip.AddrPortFrom(any, 1717), err)
	}
	if !ap.Addr().IsLoopback() {
		return nil, fmt.Errorf("address is %q; want one on loopback (127.0.0.0/8 or ::1), nothing else is bound or dialled", address)
	}
	if nw != "tcp" && ap.Addr().Is4() != (nw == "tcp4") {
		return nil, fmt.Errorf("address is %q on network %q; want one of that family, such as %s",
			address, nw, netip.AddrPortFrom(any, ap.Port()))
	}
	return net.TCPAddrFromAddrPort(ap), nil
}
