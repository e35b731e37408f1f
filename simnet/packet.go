package simnet

import (
	"maps"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"example.com/go-sockettest/network"
)

// packetRoom is the memory for datagrams that wait for a reader: Linux's rmem_default. What comes
// when it is full is lost.
const packetRoom = 212992

// memory returns what a datagram of n bytes takes there. As measured on Linux 6.18, that is a
// descriptor, and the headers and the data in a block of 576 bytes, of a power of two from 1 KiB to
// 16 KiB, or of whole pages.
func memory(n int) int {
	const descriptor, headers, small, page = 256, 384, 576, 4 << 10
	switch n += headers; {
	case n <= small:
		n = small
	case n <= 4*page:
		n = max(1<<10, 1<<bits.Len(uint(n-1)))
	default:
		n = (n + page - 1) / page * page
	}
	return descriptor + n
}

// A PacketConn is a UDP socket, as [Network.ListenPacket] returns it and, connected,
// [Network.Dial]. What is sent arrives at once and in order. If nobody takes it, ICMP says so, and
// the next call fails with ECONNREFUSED if the socket is connected. Its methods may be called from
// any goroutine.
type PacketConn struct {
	socket
	binding
	remote netip.AddrPort // zero unless it is connected
	ra     net.Addr       // nil unless it is connected

	sender sender
	ways   map[*path]*way

	queue    []datagram // not read yet
	queued   int        // the memory that they take
	room     int        // for them
	refusing bool
	visits   int                  // datagrams that were sent to it
	senders  map[*PacketConn]bool // sockets that sent them
	flows    map[*PacketConn]*flow
	soErr    syscall.Errno
}

var _ network.PacketPort = (*PacketConn)(nil)

// A flow is what two sockets send each other, as a middlebox knows it.
type flow struct {
	opener *PacketConn // which sent first
	spoke  time.Time   // when something passed; zero until the network had a fault
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

// bindPacket takes an address; port 0 means any free one.
func (h *Host) bindPacket(nw string, a, remote netip.AddrPort) (*PacketConn, syscall.Errno) {
	b := bindingOf(nw, a)
	ip := b.addr.Addr()
	if !h.has(ip) && !ip.IsUnspecified() {
		return nil, syscall.EADDRNOTAVAIL
	}
	if a.Port() == 0 {
		b.addr = netip.AddrPortFrom(ip, h.packetPort(b))
	}
	if b.addr.Port() == 0 || h.packetHas(b) {
		return nil, syscall.EADDRINUSE
	}
	c := &PacketConn{binding: b, remote: remote, room: packetRoom}
	c.open(h, nw, net.UDPAddrFromAddrPort(b.addr))
	if remote.IsValid() {
		c.ra = net.UDPAddrFromAddrPort(remote)
	}
	c.sender = h.next(sender{addr: b.addr})
	h.packets[b.addr.Port()] = append(h.packets[b.addr.Port()], c)
	return c, 0
}

// packetPort returns a port that is free where b is, or 0.
func (h *Host) packetPort(b binding) uint16 {
	for range lastEphemeral - firstEphemeral + 1 {
		if h.lastPacket++; h.lastPacket < firstEphemeral || h.lastPacket > lastEphemeral {
			h.lastPacket = firstEphemeral
		}
		if b.addr = netip.AddrPortFrom(b.addr.Addr(), h.lastPacket); !h.packetHas(b) {
			return h.lastPacket
		}
	}
	return 0
}

// packetHas reports whether a socket has an address of b.
func (h *Host) packetHas(b binding) bool {
	return slices.ContainsFunc(h.packets[b.addr.Port()], func(c *PacketConn) bool { return c.overlaps(b) })
}

// packetAt returns the socket that takes what is sent to an address, the most specific one.
func (h *Host) packetAt(a netip.AddrPort) *PacketConn {
	var found *PacketConn
	for _, c := range h.packets[a.Port()] {
		if c.answers(a.Addr()) && (found == nil || found.addr.Addr().IsUnspecified()) {
			found = c
		}
	}
	return found
}

func (c *PacketConn) opError(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: c.net, Source: c.la, Addr: to, Err: err}
}

func (c *PacketConn) takeError() error {
	e := c.soErr
	c.soErr = 0
	if e == 0 {
		return nil
	}
	return e
}

// Read takes the next datagram. What does not fit into b is lost.
func (c *PacketConn) Read(b []byte) (int, error) {
	n, _, err := c.receive(b, "read")
	return n, err
}

// receive takes the next datagram, and returns how much of it fits into b.
func (c *PacketConn) receive(b []byte, call string) (int, datagram, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		var err error
		switch {
		case c.closed:
			err = net.ErrClosed
		case len(b) == 0 && call == "read": // package net asks no kernel then
			return 0, datagram{}, nil
		case c.readDeadline.expired:
			err = errDeadline
		case c.soErr != 0:
			err = os.NewSyscallError(call, c.takeError())
		case len(c.queue) > 0:
			d := c.queue[0]
			c.queue = c.queue[1:]
			c.queued -= memory(len(d.data))
			return copy(b, d.data), d, nil
		default:
			c.readable.Wait()
			continue
		}
		return 0, datagram{}, c.opError("read", c.ra, err)
	}
}

// Write sends a datagram to the address that the socket is connected to.
func (c *PacketConn) Write(b []byte) (int, error) { return c.send(b, c.remote, c.ra, "write") }

// What IPv4 and IPv6 leave for UDP's data.
const (
	maxDatagram4 = 65507
	maxDatagram6 = 65527
)

func (c *PacketConn) send(b []byte, to netip.AddrPort, addr net.Addr, call string) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if to.IsValid() {
		to = specified(c.net, to)
	}
	there, from, err := c.maySend(len(b), to)
	if errno, ok := err.(syscall.Errno); ok {
		err = syscallError(call, errno)
	}
	if err != nil {
		return 0, c.opError("write", addr, err)
	}
	c.n.sendPacket(c, there, netip.AddrPortFrom(from, c.addr.Port()), to, b)
	return len(b), nil
}

// maySend finds the way of a datagram of n bytes. Its errors come in the order of package net's and
// Linux's.
func (c *PacketConn) maySend(n int, to netip.AddrPort) (there *Host, from netip.Addr, err error) {
	most, local := maxDatagram4, c.addr.Addr()
	if to.Addr().Is6() {
		most = maxDatagram6
	}
	switch {
	case c.closed:
		return nil, from, net.ErrClosed
	case c.writeDeadline.expired:
		return nil, from, errDeadline
	case n > 1<<16-1:
		return nil, from, syscall.EMSGSIZE
	case !to.IsValid():
		return nil, from, syscall.EDESTADDRREQ
	case local.Is6() && to.Addr().Is4() && !c.dual:
		return nil, from, syscall.ENETUNREACH
	case to.Port() == 0:
		return nil, from, syscall.EINVAL
	}
	if there, from = c.host.route(to.Addr()); !from.IsValid() {
		return nil, from, syscall.ENETUNREACH
	}
	if !local.IsUnspecified() {
		from = local
	}
	switch {
	case from.IsLoopback() && !to.Addr().IsLoopback(): // it would never come back
		return nil, from, syscall.EINVAL
	case n > most:
		return nil, from, syscall.EMSGSIZE
	}
	return there, from, c.takeError()
}

// sendPacket sends a datagram to a host; if that is nil, it is lost.
func (n *Network) sendPacket(c *PacketConn, there *Host, from, to netip.AddrPort, b []byte) {
	if there == nil {
		return
	}
	if p := there.packetAt(to); p != nil {
		p.visits++
		if p.senders == nil {
			p.senders = map[*PacketConn]bool{}
		}
		p.senders[c] = true
		if !c.passes(p) {
			return
		}
	}
	if n.faulty {
		b = slices.Clone(b)
	}
	c.way(c.host, there).sendDatagram(len(b), func() {
		if !there.takePacket(from, to, b) && c.remote.IsValid() {
			c.way(there, c.host).carryOrLose(func() {
				c.soErr = syscall.ECONNREFUSED
				c.readable.Broadcast()
			}, nil)
		}
	})
}

// passes reports whether a datagram to p passes the middleboxes between the two. One that has
// forgotten the flow lets only its opener begin again.
func (c *PacketConn) passes(p *PacketConn) bool {
	f := c.flows[p]
	if f == nil {
		f = &flow{opener: c}
		for a, b := range map[*PacketConn]*PacketConn{c: p, p: c} {
			if a.flows == nil {
				a.flows = map[*PacketConn]*flow{}
			}
			a.flows[b] = f
		}
	}
	if !c.n.faulty {
		return true
	}
	m, last := boxBetween(c.n.path(c.host, p.host), c.n.path(p.host, c.host)), f.spoke
	if m.since.After(last) {
		last = m.since
	}
	if m.idle > 0 && c != f.opener && now().Sub(last) >= m.idle {
		return false
	}
	f.spoke = now()
	return true
}

// way returns the path from one host to another, for this socket.
func (c *PacketConn) way(from, to *Host) *way {
	p := c.n.path(from, to)
	w := c.ways[p]
	if w == nil {
		w = &way{path: p, who: &c.sender}
		if c.ways == nil {
			c.ways = map[*path]*way{}
		}
		c.ways[p] = w
	}
	return w
}

// takePacket lets a datagram arrive, and reports whether somebody is there to take it. What comes
// to a full queue is lost.
func (h *Host) takePacket(from, to netip.AddrPort, b []byte) bool {
	p := h.packetAt(to)
	if p == nil || p.refusing || p.remote.IsValid() && p.remote != from {
		return false
	}
	if size := memory(len(b)); p.queued+size <= p.room {
		p.queue = append(p.queue, datagram{from, append([]byte(nil), b...)})
		p.queued += size
		p.readable.Broadcast()
	}
	return true
}

// Visits counts the datagrams that were sent to the socket, those included that were refused or
// lost on their way; see [network.PacketPort].
func (c *PacketConn) Visits() network.Visits {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return network.Visits{Count: c.visits, Open: c.openSenders(), Complete: true, Exact: true}
}

// Mechanism returns an empty string: there is nothing to tell.
func (c *PacketConn) Mechanism() string { return "" }

// openSenders counts the sockets that have sent something and are still open.
func (c *PacketConn) openSenders() int {
	maps.DeleteFunc(c.senders, func(s *PacketConn, _ bool) bool { return s.closed })
	return len(c.senders)
}

// Close frees the address. What was not read is lost.
func (c *PacketConn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.opError("close", c.ra, net.ErrClosed)
	}
	c.closed, c.queue = true, nil
	for p := range c.flows {
		delete(p.flows, c)
	}
	remove(c.host.packets, c.addr.Port(), c)
	c.dropDeadlines()
	c.readable.Broadcast()
	return nil
}

// RemoteAddr returns a [*net.UDPAddr], or nil if the socket is not connected.
func (c *PacketConn) RemoteAddr() net.Addr { return c.ra }

// Refuse answers what arrives with ICMP port unreachable; see [network.PacketPort].
func (c *PacketConn) Refuse() error { return c.refuse(true) }

// Serve lets datagrams arrive again.
func (c *PacketConn) Serve() error { return c.refuse(false) }

func (c *PacketConn) refuse(yes bool) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.opError("refuse", nil, net.ErrClosed)
	}
	c.refusing = yes
	return nil
}
