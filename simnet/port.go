package simnet

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"example.com/go-sockettest/network"
)

// somaxconn is the largest backlog that Linux gives. Its queue admits one more.
const somaxconn = 4096

// A port is a bound address.
type port struct {
	n    *Network
	host *Host
	addr netip.AddrPort
	tcp  *net.TCPAddr // the same
	net  string       // as package net names it in errors
	dual bool         // listens on ::, and for IPv4 as well

	state     network.State
	queue     []arrival // not accepted yet
	arrived   sync.Cond
	acceptDue event // when the head of the queue may be accepted, under Hold
	deadline  deadline
	dropped   int
	lastDrop  time.Time // when the latest was
	connects  int       // that were tried, whatever they met
	writes    int       // of clients
	refusals  []time.Time
	open      int // connections that clients have open
	awaiting  int // calls that wait for dropped SYNs
	closed    bool
}

// An arrival is a connection in an accept queue, and since when.
type arrival struct {
	c  *Conn
	at time.Time
}

func newPort(h *Host, a netip.AddrPort, nw string, dual bool) *port {
	p := &port{n: h.n, host: h, addr: a, tcp: net.TCPAddrFromAddrPort(a), net: nw, dual: dual}
	p.arrived.L = &h.n.mu
	p.acceptDue.do = p.arrived.Broadcast
	return p
}

// answers reports whether connects to an address meet this port.
func (p *port) answers(ip netip.Addr) bool {
	own := p.addr.Addr()
	return own == ip || own.IsUnspecified() && (own.Is4() == ip.Is4() || p.dual)
}

// overlaps reports whether the two cannot be bound at once.
func (p *port) overlaps(q *port) bool {
	a, b := p.addr.Addr(), q.addr.Addr()
	switch {
	case a.IsUnspecified() && (p.dual && a.Is6() || a.Is4() == b.Is4()):
		return true
	case b.IsUnspecified() && (q.dual && b.Is6() || a.Is4() == b.Is4()):
		return true
	}
	return a == b
}

func (p *port) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: p.net, Addr: p.tcp, Err: err}
}

// bind takes an address; port 0 means any free one.
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

// at returns the port that answers for an address, the most specific one; nil if there is none.
func (h *Host) at(a netip.AddrPort) *port {
	var found *port
	for _, p := range h.bound[a.Port()] {
		if p.answers(a.Addr()) && (found == nil || found.addr.Addr().IsUnspecified()) {
			found = p
		}
	}
	return found
}

// takes reports whether connections that are made are queued for Accept.
func (p *port) takes() bool {
	return p.state.Answer == network.Listen || p.state.Answer == network.Drop
}

// room returns how many connections the accept queue takes.
func (p *port) room() int {
	if p.state.Backlog > 0 {
		return p.state.Backlog
	}
	return somaxconn + 1
}

// dropSYN leaves a SYN unanswered.
func (p *port) dropSYN() {
	p.dropped++
	p.lastDrop = now()
	p.arrived.Broadcast()
}

// keepRefusals is how many refused connects a port remembers.
const keepRefusals = 64

// refuse notes that a SYN was answered with RST.
func (p *port) refuse() {
	if len(p.refusals) < keepRefusals {
		p.refusals = append(p.refusals, time.Now())
	}
}

// admit puts a connection into the accept queue.
func (p *port) admit(c *Conn) {
	if p.closed || !p.takes() && !p.state.Cut {
		c.abort()
		return
	}
	p.queue = append(p.queue, arrival{c, time.Now()})
	p.arrived.Broadcast()
}

// next takes the head of the queue, if it may be accepted by now.
func (p *port) next() *Conn {
	if p.closed || p.deadline.expired || len(p.queue) == 0 || p.state.Hold == network.Forever || !p.takes() {
		return nil
	}
	head := p.queue[0]
	if due := head.at.Add(p.state.Hold); due.After(time.Now()) {
		p.n.agenda.schedule(&p.acceptDue, due)
		return nil
	}
	p.queue = slices.Delete(p.queue, 0, 1)
	return head.c
}

// resetQueue resets the connections that nobody has accepted, as Linux does when the listener is
// gone.
func (p *port) resetQueue() {
	for _, a := range p.queue {
		a.c.abort()
	}
	p.queue = nil
}
