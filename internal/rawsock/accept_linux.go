package rawsock

import (
	"errors"
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
			err = p.awaitDue(gen)
		}
		if c == nil && err == nil {
			c, err = p.take()
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
	for !p.closed && len(p.rescued) == 0 && !p.acceptable() {
		p.changed.Wait()
	}
	switch {
	case p.closed:
		return 0, nil, p.opError("accept", net.ErrClosed)
	case len(p.rescued) > 0:
		c := p.rescued[0].(*net.TCPConn)
		p.rescued = p.rescued[1:]
		rescued, err = p.adopt(c)
		return p.gen, rescued, err
	}
	return p.gen, nil, p.ln.SetDeadline(time.Time{})
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
	c, err := p.ln.AcceptTCP()
	p.taking.RUnlock()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	if len(p.arrivals) > 0 {
		p.arrivals = p.arrivals[1:]
	}
	p.mu.Unlock()
	return p.adopt(c)
}

// adopt makes an accepted connection plain: it may have inherited IP_MINTTL from a listener that just then went
// black, and would be partitioned for ever.
func (p *port) adopt(c *net.TCPConn) (*conn, error) {
	if err := control(c, func(fd int) error { return setMinTTL(fd, p.v6, 0) }); err != nil {
		_ = c.Close()
		return nil, err
	}
	return newConn(c)
}

// awaitDue waits, if the state says Hold, until the connection at the head of the queue has been there that long.
// A connection's arrival is an event of the poller, and TCP_INFO tells how many there are, so each is timed from its
// own arrival though nobody has accepted it.
func (p *port) awaitDue(gen int) error {
	for {
		due, err := p.nextDue(gen)
		if err != nil || due {
			return err
		}
		raw, err := p.queue.SyscallConn()
		if err != nil {
			return err
		}
		err = raw.Read(func(fd uintptr) bool { return p.arrived(int(fd)) })
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// nextDue says whether the head of the queue may be accepted now; if not, it has the poller wake us when it may.
func (p *port) nextDue(gen int) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gen != gen || p.closed:
		return false, os.ErrDeadlineExceeded // Accept looks at the state again
	case p.state.Hold <= 0:
		return true, nil
	case p.queue == nil:
		// The listener itself can only be waited on by accepting (net's raw listener has no Read).
		f, err := p.ln.File()
		if err != nil {
			return false, err
		}
		p.queue = f
	}
	if len(p.arrivals) == 0 {
		return false, p.queue.SetReadDeadline(time.Time{})
	}
	due := p.arrivals[0].Add(p.state.Hold)
	return !time.Now().Before(due), p.queue.SetReadDeadline(due)
}

// arrived notes the connections that have joined the queue since it was last called, and says whether there are any.
func (p *port) arrived(fd int) bool {
	n, err := queued(fd)
	if err != nil {
		return true // Accept will meet the error
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	fresh := false
	for len(p.arrivals) < n {
		p.arrivals = append(p.arrivals, now)
		fresh = true
	}
	return fresh
}
