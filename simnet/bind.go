package simnet

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"example.com/go-sockettest/network"
)

// Linux's ephemeral ports (ip_local_port_range).
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// Bind takes an address of the host and holds it; see [network.Stack]. Without an address it is one that others can
// reach, unless the host is the network's own, which is as careful as a real machine in a test: then it is on loopback.
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
	p, errno := h.bind(addr, "tcp", false)
	if errno != 0 {
		return nil, bindError("tcp", addr, errno)
	}
	return &boundPort{p}, nil
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
	if protocol, _ := protocolOf(nw); protocol != "tcp" {
		return nil, &net.OpError{Op: "listen", Net: nw, Err: &net.AddrError{Err: "unexpected address type", Addr: address}}
	}
	failed := &net.OpError{Op: "listen", Net: nw, Addr: asked(addrs[0])}
	if failed.Err = endOf(ctx); failed.Err != nil {
		return nil, failed
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	p, errno := h.bind(addrs[0], nw, nw == "tcp")
	if errno != 0 {
		failed.Err = sys("bind", errno)
		return nil, failed
	}
	p.become(network.State{Answer: network.Listen})
	return &Listener{p}, nil
}

// bind takes an address; port 0 is any free one. The caller holds mu.
func (h *Host) bind(a netip.AddrPort, nw string, dual bool) (*port, syscall.Errno) {
	switch ip := a.Addr(); {
	case !h.has(ip) && !ip.IsUnspecified():
		return nil, syscall.EADDRNOTAVAIL
	case a.Port() == 0:
		free := h.ephemeral(ip)
		if free == 0 {
			return nil, syscall.EADDRINUSE
		}
		a = netip.AddrPortFrom(ip, free)
	}
	p := newPort(h, a, nw, dual)
	for _, other := range h.bound[a.Port()] {
		if other.overlaps(p) {
			return nil, syscall.EADDRINUSE
		}
	}
	h.bound[a.Port()] = append(h.bound[a.Port()], p)
	return p, 0
}

// ephemeral returns a port that nobody has on ip, the next in turn, so that each run of a program sees the same; 0 if
// there is none. The caller holds mu.
func (h *Host) ephemeral(ip netip.Addr) uint16 {
	for range lastEphemeral - firstEphemeral + 1 {
		if h.last++; h.last > lastEphemeral {
			h.last = firstEphemeral
		}
		if len(h.bound[h.last]) == 0 && h.used[netip.AddrPortFrom(ip, h.last)] == 0 {
			return h.last
		}
	}
	return 0
}

// release gives back the local address of a client. The caller holds mu.
func (h *Host) release(a netip.AddrPort) {
	if h.used[a]--; h.used[a] <= 0 {
		delete(h.used, a)
	}
}

// at returns the port that answers for an address, nil if nobody does: the most particular. The caller holds mu.
func (h *Host) at(a netip.AddrPort) *port {
	var found *port
	for _, p := range h.bound[a.Port()] {
		if p.answers(a.Addr()) && (found == nil || found.addr.Addr().IsUnspecified()) {
			found = p
		}
	}
	return found
}
