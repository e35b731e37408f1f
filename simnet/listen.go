package simnet

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"example.com/go-sockettest/network"
)

// A boundPort is a port as fixtures see it. It implements [network.Port].
type boundPort struct{ p *port }

// Addr returns the bound address.
func (b *boundPort) Addr() net.Addr { return b.p.tcp }

var errLent = errors.New("the port is lent until it is closed")

// Become changes how the port answers a connect; see [network.Port]. All states are available,
// Handshake with any other.
func (b *boundPort) Become(s network.State) error {
	if err := s.Check("tcp"); err != nil {
		return err
	}
	b.p.n.mu.Lock()
	defer b.p.n.mu.Unlock()
	if b.p.closed {
		return b.p.opError("become", net.ErrClosed)
	}
	if b.p.state.Answer == network.Lend && s.Answer != network.Lend {
		return b.p.opError("become", errLent)
	}
	b.p.become(s)
	return nil
}

// become changes the answer to connects. Dials that hang meet it with their next SYN.
func (p *port) become(s network.State) {
	if p.state.Cut != s.Cut {
		paths := p.n.into[p.host]
		changeCuts(paths, func() { p.state.Cut = s.Cut })
		updateKeepAlives(paths)
	}
	p.state = s
	if !p.takes() && !s.Cut {
		p.resetQueue()
	}
	p.arrived.Broadcast()
	for d := range p.n.dials {
		d.forgetAnswer(p)
	}
	p.n.retryDials()
}

// Accept waits for the next connection; see [network.Port].
func (b *boundPort) Accept() (network.Conn, error) {
	c, err := b.p.accept()
	if err != nil {
		return nil, err
	}
	return c, nil
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

// Dropped counts SYNs that were dropped; see [network.Port].
func (b *boundPort) Dropped() (n int, last time.Time, err error) {
	b.p.n.mu.Lock()
	defer b.p.n.mu.Unlock()
	b.p.n.countSkippedSYNs()
	return b.p.dropped, b.p.lastDrop, nil
}

// AwaitDropped waits until n SYNs were dropped in all; see [network.Port].
func (b *boundPort) AwaitDropped(ctx context.Context, n int) (int, error) {
	p := b.p
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	p.n.retryDials()
	p.awaiting++
	defer func() { p.awaiting-- }()
	if p.dropped < n {
		stop := p.n.wakeAfter(ctx, &p.arrived)
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

// Visits counts what clients did here: connects that were tried, whatever they met, and writes.
func (b *boundPort) Visits() network.Visits {
	b.p.n.mu.Lock()
	defer b.p.n.mu.Unlock()
	v := network.Visits{Count: b.p.connects, Writes: b.p.writes, Open: b.p.open, Complete: true, Exact: true}
	for d := range b.p.n.dials {
		if d.to != nil && d.client == nil && d.to.at(d.ra) == b.p {
			v.Open++
		}
	}
	return v
}

// Refusals returns when connects were refused here; see [network.Port].
func (b *boundPort) Refusals() ([]time.Time, error) {
	b.p.n.mu.Lock()
	defer b.p.n.mu.Unlock()
	return slices.Clone(b.p.refusals), nil
}

// Attempts returns all connects that were tried here, even if the SYN never came; see
// [network.Port].
func (b *boundPort) Attempts() ([]network.Attempt, error) {
	b.p.n.mu.Lock()
	defer b.p.n.mu.Unlock()
	list := make([]network.Attempt, 0, len(b.p.attempts))
	for _, a := range b.p.attempts {
		list = append(list, network.Attempt{At: a.at, From: net.TCPAddrFromAddrPort(a.from)})
	}
	return list, nil
}

// Mechanism returns an empty string: there is nothing to tell.
func (b *boundPort) Mechanism() string { return "" }

// Close gives the address back.
func (b *boundPort) Close() error {
	b.p.close()
	return nil
}

// close gives the address back, and reports whether this was the first time.
func (p *port) close() bool {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.closed {
		return false
	}
	p.closed = true
	remove(p.host.bound, p.addr.Port(), p)
	p.resetQueue()
	p.n.agenda.cancel(&p.acceptDue)
	p.n.agenda.cancel(&p.deadline.event)
	p.arrived.Broadcast()
	for d := range p.n.dials {
		d.forgetAnswer(p)
	}
	p.n.retryDials()
	return true
}

// A Listener is what [Network.Listen] returns: a [net.Listener] with the other methods of
// [*net.TCPListener].
type Listener struct{ p *port }

// Accept waits for the next connection, which is a [*Conn] with keep-alive every 15 s. It fails
// only with [net.ErrClosed] or [os.ErrDeadlineExceeded].
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.p.accept()
	if err != nil {
		return nil, err
	}
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.alive.set(c, defaultKeepAlive)
	return c, nil
}

// Close stops listening, and resets connections that nobody has accepted.
func (l *Listener) Close() error {
	if !l.p.close() {
		return l.p.opError("close", net.ErrClosed)
	}
	return nil
}

// Addr returns the bound address.
func (l *Listener) Addr() net.Addr { return l.p.tcp }

// SetDeadline sets the deadline of Accept, calls in progress included. The zero time means none.
func (l *Listener) SetDeadline(t time.Time) error {
	l.p.n.mu.Lock()
	defer l.p.n.mu.Unlock()
	if l.p.closed {
		return net.ErrClosed
	}
	l.p.deadline.set(&l.p.n.agenda, t, l.p.arrived.Broadcast)
	return nil
}
