package simnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"example.com/go-sockettest/network"
)

// somaxconn is the largest backlog that Linux gives; its queue admits one more.
const somaxconn = 4096

// A port is a bound address. All but n, host, addr, net and dual is guarded by the network's lock.
type port struct {
	n    *Network
	host *Host
	addr netip.AddrPort
	tcp  *net.TCPAddr // the same
	net  string       // as package net names it in errors
	dual bool         // listens on ::, and for IPv4 as well

	state    network.State
	queue    []arrival // not accepted yet
	arrived  sync.Cond
	due      event // when the head of the queue may be accepted, under Hold
	deadline deadline
	dropped  int
	lastDrop time.Time // when the latest was
	met      int       // what clients did here, but for SYNs that were dropped
	held     int       // connections that clients have open
	awaiting int       // calls that wait for dropped SYNs
	closed   bool
}

// An arrival is a connection in an accept queue, and since when.
type arrival struct {
	c  *Conn
	at time.Time
}

func newPort(h *Host, a netip.AddrPort, nw string, dual bool) *port {
	p := &port{n: h.n, host: h, addr: a, tcp: net.TCPAddrFromAddrPort(a), net: nw, dual: dual}
	p.arrived.L = &h.n.mu
	p.due.do = p.arrived.Broadcast
	return p
}

// answers tells whether connects to an address meet this port.
func (p *port) answers(ip netip.Addr) bool {
	own := p.addr.Addr()
	return own == ip || own.IsUnspecified() && (own.Is4() == ip.Is4() || p.dual)
}

// overlaps tells whether both cannot be bound at once.
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

// become changes the answer to connects. What hangs looks again when it next sends its SYN. The caller holds mu.
func (p *port) become(s network.State) {
	if p.state.Cut != s.Cut {
		p.n.recut(func() { p.state.Cut = s.Cut })
		p.n.updateKeepAlive()
	}
	p.state = s
	if !p.takes() && !s.Cut {
		p.resetQueue()
	}
	p.arrived.Broadcast()
	for d := range p.n.dials {
		d.reconsider(p)
	}
	p.n.stir()
}

// takes tells whether connections that are made are queued for Accept.
func (p *port) takes() bool {
	return p.state.Answer == network.Listen || p.state.Answer == network.Drop
}

// resetQueue does as Linux does with connections that nobody has accepted when the listener is gone.
func (p *port) resetQueue() {
	for _, a := range p.queue {
		a.c.abort()
	}
	p.queue = nil
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

// room is how many connections the accept queue takes.
func (p *port) room() int {
	if p.state.Backlog > 0 {
		return p.state.Backlog
	}
	return somaxconn + 1
}

// accept waits for the next connection.
func (p *port) accept() (*Conn, error) {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	for {
		switch c := p.next(); {
		case p.closed:
			return nil, p.opError("accept", net.ErrClosed)
		case p.deadline.expired:
			return nil, p.opError("accept", errDeadline)
		case c != nil:
			return c, nil
		}
		p.arrived.Wait()
	}
}

// next takes the head of the queue, if it may be accepted by now. The caller holds mu.
func (p *port) next() *Conn {
	if p.closed || p.deadline.expired || len(p.queue) == 0 || p.state.Hold == network.Forever || !p.takes() {
		return nil
	}
	head := p.queue[0]
	if due := head.at.Add(p.state.Hold); due.After(time.Now()) {
		p.n.schedule(&p.due, due)
		return nil
	}
	p.queue = slices.Delete(p.queue, 0, 1)
	return head.c
}

// close gives the address back, and tells whether this was the first time.
func (p *port) close() bool {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.closed {
		return false
	}
	p.closed = true
	same := p.host.bound[p.addr.Port()]
	if same = slices.DeleteFunc(same, func(q *port) bool { return q == p }); len(same) == 0 {
		delete(p.host.bound, p.addr.Port())
	} else {
		p.host.bound[p.addr.Port()] = same
	}
	p.resetQueue()
	p.n.drop(&p.due)
	p.n.drop(&p.deadline.event)
	p.arrived.Broadcast()
	for d := range p.n.dials {
		d.reconsider(p)
	}
	p.n.stir()
	return true
}

func (p *port) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: p.net, Addr: p.tcp, Err: err}
}

// A boundPort is a port as fixtures see it.
type boundPort struct{ p *port }

// Addr returns the bound address.
func (b *boundPort) Addr() net.Addr { return b.p.tcp }

// Become changes how the port answers a connect; see [network.Port]. All states can be had, Handshake with any other.
func (b *boundPort) Become(s network.State) error {
	if err := checkState(s); err != nil {
		return err
	}
	b.p.n.mu.Lock()
	defer b.p.n.mu.Unlock()
	if b.p.closed {
		return b.p.opError("become", net.ErrClosed)
	}
	b.p.become(s)
	return nil
}

// Accept waits for the next connection; see [network.Port].
func (b *boundPort) Accept() (network.Conn, error) {
	c, err := b.p.accept()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Dropped counts SYNs that were dropped; see [network.Port].
func (b *boundPort) Dropped() (n int, last time.Time, err error) {
	b.p.n.mu.Lock()
	defer b.p.n.mu.Unlock()
	b.p.n.catchUp()
	return b.p.dropped, b.p.lastDrop, nil
}

// AwaitDropped waits until n SYNs were dropped in all; see [network.Port].
func (b *boundPort) AwaitDropped(ctx context.Context, n int) (int, error) {
	p := b.p
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	p.n.stir()
	p.awaiting++
	defer func() { p.awaiting-- }()
	if p.dropped < n {
		stop := context.AfterFunc(ctx, func() {
			p.n.mu.Lock()
			defer p.n.mu.Unlock()
			p.arrived.Broadcast()
		})
		defer stop()
	}
	for p.dropped < n && ctx.Err() == nil {
		p.arrived.Wait()
	}
	if p.dropped < n {
		return p.dropped, context.Cause(ctx)
	}
	return p.dropped, nil
}

// drop leaves a SYN unanswered. The caller holds mu.
func (p *port) drop() {
	p.dropped++
	p.lastDrop = now()
	p.arrived.Broadcast()
}

// Mechanism has nothing to tell: simnet answers as it is told.
func (b *boundPort) Mechanism() string { return "" }

// Close gives the address back.
func (b *boundPort) Close() error {
	b.p.close()
	return nil
}

// checkState finds the states that no network could give.
func checkState(s network.State) error {
	switch {
	case s.Answer < network.Own || s.Answer > network.Absent:
		return fmt.Errorf("State.Answer is %d; want Own, Refuse, Listen or Drop", s.Answer)
	case s.Answer == network.Absent:
		return fmt.Errorf("State.Answer is %q; want it on a unix socket only, since a TCP address is always there", s.Answer)
	case s.Backlog < 0:
		return fmt.Errorf("State.Backlog is %d; want 0 (all that the platform gives) or more", s.Backlog)
	case s.Backlog > 0 && s.Answer != network.Listen:
		return fmt.Errorf("State.Backlog is %d, and State.Answer is %q; want network.Listen, or 0", s.Backlog, s.Answer)
	case s.SmallWindow && s.Answer != network.Listen:
		return fmt.Errorf("State.SmallWindow is true, and State.Answer is %q; want network.Listen, or false", s.Answer)
	}
	return nil
}
