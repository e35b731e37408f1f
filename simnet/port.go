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
	binding
	tcp *net.TCPAddr // the address
	net string       // as package net names it in errors

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
	attempts  []attempt // the connects that were tried
	open      int       // connections that clients have open
	awaiting  int       // calls that wait for dropped SYNs
	closed    bool
}

// An attempt is a connect that a client has tried, and when.
type attempt struct {
	at   time.Time
	from netip.AddrPort
}

// keepAttempts is how many connects a port remembers.
const keepAttempts = 10_000

// An arrival is a connection in an accept queue, and since when.
type arrival struct {
	c  *Conn
	at time.Time
}

func newPort(h *Host, b binding, nw string) *port {
	p := &port{n: h.n, host: h, binding: b, tcp: net.TCPAddrFromAddrPort(b.addr), net: nw}
	p.arrived.L = &h.n.mu
	p.acceptDue.do = p.arrived.Broadcast
	return p
}

func (p *port) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: p.net, Addr: p.tcp, Err: err}
}

// bind takes an address; port 0 means any free one. A port that is lent is free for who listens.
func (h *Host) bind(nw string, a netip.AddrPort, listens bool) (*port, syscall.Errno) {
	b := bindingOf(nw, a)
	switch ip := b.addr.Addr(); {
	case !h.has(ip) && !ip.IsUnspecified():
		return nil, syscall.EADDRNOTAVAIL
	case a.Port() == 0:
		b.addr = netip.AddrPortFrom(ip, h.ephemeral(b))
	}
	number := b.addr.Port()
	taken := func(p *port) bool { return p.overlaps(b) && !(listens && p.state.Answer == network.Lend) }
	if number == 0 || h.clientHas(b) || slices.ContainsFunc(h.bound[number], taken) {
		return nil, syscall.EADDRINUSE
	}
	p := newPort(h, b, nw)
	h.bound[number] = append(h.bound[number], p)
	return p, 0
}

// at returns the port that answers for an address; nil if there is none.
func (h *Host) at(a netip.AddrPort) *port {
	var found *port
	for _, p := range h.bound[a.Port()] {
		if p.answers(a.Addr()) && (found == nil || p.before() > found.before()) {
			found = p
		}
	}
	return found
}

// before is higher for the port that answers of several: the most specific, and one that is lent
// only if there is no other.
func (p *port) before() int {
	switch {
	case p.state.Answer == network.Lend:
		return 0
	case p.addr.Addr().IsUnspecified():
		return 1
	}
	return 2
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
