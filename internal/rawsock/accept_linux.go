package rawsock

import (
	"net"
	"os"
	"time"

	"example.com/go-sockettest/network"
)

// Accept waits for the next connection; see [network.Port].
func (p *port) Accept() (network.Conn, error) {
	for {
		gen, c, err := p.awaitListening()
		if err != nil {
			return nil, err
		}
		if c == nil {
			err = p.queue.awaitDue(func() (time.Duration, error) { return p.hold(gen) })
		}
		if c == nil && err == nil {
			if c, err = p.take(); err == nil {
				p.mu.Lock()
				p.queue.taken()
				p.mu.Unlock()
			}
		}
		if err == nil {
			return c, nil // not before: a nil *conn is no nil network.Conn
		}
		if p.stillIn(gen) {
			return nil, err
		}
	}
}

// awaitListening waits for a state in which there may be something to accept, and clears the deadlines with which
// the last change of state woke us.
func (p *port) awaitListening() (gen int, rescued *conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && !p.headDue() && (len(p.rescued) > 0 || !p.acceptable()) {
		p.changed.Wait()
	}
	switch {
	case p.closed:
		return 0, nil, p.opError("accept", net.ErrClosed)
	case len(p.rescued) > 0:
		c := p.rescued[0].conn.(*conn)
		p.rescued = p.rescued[1:]
		p.met.Add(1)
		if p.state.Backlog > 0 && !p.state.Cut {
			err = p.answer(p.state) // there is room for one more
		}
		return p.gen, c, err
	}
	return p.gen, nil, p.ln.SetDeadline(time.Time{})
}

// headDue tells whether the first connection outside the kernel's queue may be accepted, and else sees to it that Accept
// looks again when it may. The caller holds mu.
func (p *port) headDue() bool {
	if len(p.rescued) == 0 || p.state.Hold == network.Forever || p.state.Answer != network.Listen && p.state.Answer != network.Drop {
		return false
	}
	wait := p.state.Hold - time.Since(p.rescued[0].at)
	if wait > 0 {
		time.AfterFunc(wait, p.ring)
	}
	return wait <= 0
}

// ring wakes Accept, which may be about to wait: hence the lock.
func (p *port) ring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

// acceptable: a port that drops by IP_MINTTL still hands out what was queued before.
func (p *port) acceptable() bool {
	return p.ln != nil && (p.state.Answer == network.Listen || p.state.Answer == network.Drop && p.minTTL)
}

// stillIn tells whether the state is that of generation gen: if not, an error of Accept only means "look again".
func (p *port) stillIn(gen int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gen == gen && !p.closed
}

// take accepts one connection.
func (p *port) take() (*conn, error) {
	p.taking.RLock()
	defer p.taking.RUnlock() // no change of state comes between
	tcp, err := p.ln.AcceptTCP()
	if err != nil {
		return nil, err
	}
	p.met.Add(1)
	return p.adopt(tcp)
}

// adopt makes an accepted connection plain, unless the port is cut: it may have inherited IP_MINTTL from a listener that just
// then went black, and would be partitioned for ever.
func (p *port) adopt(c *net.TCPConn) (*conn, error) {
	return p.conns.add(c, func(c *net.TCPConn) error {
		return control(c, func(fd int) error { return setMinTTL(fd, p.v6, 0) })
	})
}

// hold is how long connections wait in the accept queue, as long as the state is that of generation gen. The caller holds
// mu.
func (p *port) hold(gen int) (time.Duration, error) {
	if p.gen != gen || p.closed {
		return 0, os.ErrDeadlineExceeded // Accept looks at the state again
	}
	return p.state.Hold, nil
}
