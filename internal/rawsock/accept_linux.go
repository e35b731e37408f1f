package rawsock

import (
	"errors"
	"net"
	"os"
	"sync"
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

// A queue times the connections that wait in a listener's accept queue, each from its own arrival there though nobody has
// accepted it: an arrival is an event of the poller, and the kernel tells how many there are. The listener itself can only be
// waited on by accepting (net's raw listener has no Read), so that takes its socket once more.
type queue struct {
	length   func(fd int) (int, error) // of the accept queue
	listener func() (*os.File, error)  // the socket
	mu       sync.Locker               // the port's; it guards the rest
	file     *os.File                  // the socket, from when it is first needed
	arrivals []time.Time               // of those that are in the queue, in order
}

// awaitDue waits until the connection at the head has been in the queue for as long as hold says, which is called with the
// lock held, as often as something changes; its error ends the wait, with the lock free.
func (q *queue) awaitDue(hold func() (time.Duration, error)) error {
	for {
		due, err := q.nextDue(hold)
		if err != nil || due {
			return err
		}
		raw, err := q.file.SyscallConn()
		if err != nil {
			return err
		}
		var fresh bool
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			fresh, failed = q.arrived(int(fd))
			return fresh || failed != nil
		})
		if failed != nil {
			return failed
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// nextDue says whether the head may be accepted now; if not, it has the poller wake us when it may.
func (q *queue) nextDue(hold func() (time.Duration, error)) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d, err := hold()
	if err != nil || d <= 0 {
		return true, err
	}
	if q.file == nil {
		if q.file, err = q.listener(); err != nil {
			return false, err
		}
	}
	if len(q.arrivals) == 0 {
		return false, q.file.SetReadDeadline(time.Time{})
	}
	due := q.arrivals[0].Add(d)
	return !time.Now().Before(due), q.file.SetReadDeadline(due)
}

// arrived notes the connections that have joined since it was last called, and says whether there are any. It counts under
// the lock: what is taken, or reset, in between would be noted for the next one.
func (q *queue) arrived(fd int) (fresh bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, err := q.length(fd)
	now := time.Now()
	for ; len(q.arrivals) < n; fresh = true {
		q.arrivals = append(q.arrivals, now)
	}
	return fresh, err
}

// only forgets all but the last n: Accept may have taken the others, and not have said so yet. The caller holds the lock.
func (q *queue) only(n int) {
	q.arrivals = q.arrivals[max(0, len(q.arrivals)-n):]
}

// taken forgets the head, which has been accepted, and tells since when it was there: since now, if nobody has asked before.
// The caller holds the lock.
func (q *queue) taken() time.Time {
	if len(q.arrivals) == 0 {
		return time.Now()
	}
	since := q.arrivals[0]
	q.arrivals = q.arrivals[1:]
	return since
}

// wake ends every wait, so that hold is asked again. The caller holds the lock.
func (q *queue) wake() {
	if q.file != nil {
		_ = q.file.SetReadDeadline(time.Unix(1, 0))
	}
}

// close is for a port that is closed. The caller must not hold the lock: closing the file waits for whoever is inside the
// poller with it, and arrived is, and waits for the lock.
func (q *queue) close() {
	if q.file != nil {
		_ = q.file.Close()
	}
}
