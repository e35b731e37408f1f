package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// A port is one socket that is bound by number for its whole life and listens only while it must.
// What it answers is changed on that socket, so the address is never free for anybody else, not
// even for an instant.
type port struct {
	noRefusals
	addr   *net.TCPAddr
	v6     bool
	minTTL bool // drop by IP_MINTTL; else by a full accept queue

	acceptor
	listening bool      // listen(2) is in force
	buffer    int       // the listener's receive buffer while a small window is in force, to go back to; else 0
	black     bool      // SYNs are dropped
	counting  bool      // what is dropped is counted
	dropBase  int       // the kernel's count when counting began
	dropped   int       // what was dropped in earlier such times
	filler    *filler   // fills the accept queue, without minTTL
	rescued   []arrival // connected, not accepted, and not in the kernel's accept queue; ahead of those that are
	conns     conns     // accepted, those in rescued included
	shake     *handshake
}

func newPort(fd int, addr *net.TCPAddr, minTTL bool) *port {
	p := &port{addr: addr, v6: addr.IP.To4() == nil, minTTL: minTTL}
	p.init(fd, queued)
	return p
}

func (p *port) Addr() net.Addr { return p.addr }

var errLent = errors.New("the port is lent until it is closed")

// Become changes the answer; see [network.Port].
func (p *port) Become(s network.State) error {
	if err := s.Check("tcp"); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return p.opError("become", net.ErrClosed)
	}
	if p.state.Answer == network.Lend && s.Answer != network.Lend {
		p.mu.Unlock()
		return p.opError("become", errLent)
	}
	old := p.shake
	p.shake = nil
	err := p.enter(s)
	if err != nil && p.shake == nil {
		p.shake, old = old, nil // it goes on
	}
	p.mu.Unlock()
	old.stop() // outside the lock, which it may be waiting for
	return err
}

// enter stops every Accept, makes the system calls for s and lets Accept look at the new state. The
// caller holds mu.
func (p *port) enter(s network.State) error {
	p.gen++
	p.wake()
	p.taking.Lock() // none is inside accept(2) now, and none can get there before mu is free
	defer p.taking.Unlock()
	err := p.answer(s)
	if err == nil {
		p.state = s
		return nil
	}
	return errors.Join(err, p.answerAsBefore())
}

// answerAsBefore undoes what a change of state that failed has done. The goroutine of a slow
// handshake goes on.
func (p *port) answerAsBefore() error {
	s := p.state
	if s.Handshake > 0 {
		s.Answer, s.Handshake = network.Drop, 0
	}
	err := p.control(func(fd int) error { return p.setWindow(fd, s.SmallWindow) })
	return errors.Join(err, p.answer(s))
}

// answer makes the system calls for s. The caller holds mu.
func (p *port) answer(s network.State) error {
	if _, err := admits(s.Backlog); err != nil {
		return err
	}
	if err := p.conns.set(s.Cut); err != nil {
		return err
	}
	if s.Cut {
		return p.control(p.cutOff)
	}
	if s.Answer == network.Listen {
		if err := p.poll(p.addr.String()); err != nil { // first: it is what fails without descriptors
			return err
		}
	}
	return p.control(func(fd int) error {
		switch s.Answer {
		case network.Listen:
			if _, err := queued(fd); err != nil && s.Hold > 0 && s.Hold < network.Forever {
				return err // who could say when a connection has come
			}
			if err := p.setWindow(fd, s.SmallWindow); err != nil {
				return err
			}
			if s.Handshake > 0 {
				return p.delay(fd, s)
			}
			return p.listen(fd, s.Backlog)
		case network.Drop:
			return p.drop(fd)
		case network.Lend:
			if err := p.refuse(fd); err != nil {
				return err
			}
			return setReuseAddr(fd, 1) // bind(2) lets another socket with it listen here, while we do not
		}
		return p.refuse(fd) // a bound socket that does not listen answers RST on Linux
	})
}

// refuse stops listening and keeps the port. What is queued is reset, accepted connections live on.
func (p *port) refuse(fd int) error {
	if !p.listening {
		return nil
	}
	p.endDrop(fd)
	// Cleared while we still listen, so that there is no instant in which net.Listen, which sets
	// it, could bind here.
	if err := setReuseAddr(fd, 0); err != nil {
		return err
	}
	p.leaveQueues(fd)
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	p.listening = false
	p.queue.arrivals = nil
	p.unfill()
	p.abortRescued()
	return nil
}

// listen answers SYNs, from any other state. What waits outside the kernel's queue takes room in it
// all the same.
func (p *port) listen(fd, limit int) error {
	if limit > 0 && len(p.rescued) > 0 {
		if limit -= len(p.rescued); limit <= 0 {
			return p.drop(fd) // as the kernel does while the queue is full
		}
	}
	ask, err := admits(limit)
	if err != nil {
		return err
	}
	if err := p.takeFiller(fd); err != nil {
		return err
	}
	p.endDrop(fd)
	if err := p.startListening(fd, ask); err != nil {
		return err
	}
	if limit > 0 {
		p.count(fd)
	}
	if p.minTTL {
		if err := setMinTTL(fd, p.v6, 0); err != nil {
			return err
		}
	}
	return nil
}

// startListening calls listen(2). SO_REUSEADDR is needed for listening again beside connections of
// an earlier time (or their TIME_WAIT), and lets others take a port that does not listen; so it is
// set as late as can be.
func (p *port) startListening(fd, backlog int) error {
	err := listen(fd, backlog)
	if err != nil {
		if err := setReuseAddr(fd, 1); err != nil {
			return err
		}
		if err = listen(fd, backlog); err != nil {
			_ = setReuseAddr(fd, 0)
			return err
		}
	}
	p.listening = true
	return setReuseAddr(fd, 1) // what is accepted inherits it, and then does not bar us from listening again
}

// Accept waits for the next connection; see [network.Port].
func (p *port) Accept() (network.Conn, error) { return p.accept(p.awaitListening, p.adopt) }

// awaitListening waits for a state in which there may be something to accept, and clears the
// deadlines with which the last change of state woke us.
func (p *port) awaitListening() (gen int, rescued network.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && !p.headDue() && (len(p.rescued) > 0 || !p.acceptable()) {
		p.changed.Wait()
	}
	switch {
	case p.closed:
		return 0, nil, p.opError("accept", net.ErrClosed)
	case len(p.rescued) > 0:
		c := p.rescued[0].conn.(network.Conn)
		p.rescued = p.rescued[1:]
		p.met.Add(1)
		if p.state.Backlog > 0 && !p.state.Cut {
			_ = p.answer(p.state) // there is room for one more; c is not lost for an error
		}
		return p.gen, c, nil
	}
	return p.gen, nil, p.ln.SetDeadline(time.Time{})
}

// headDue reports whether the first connection outside the kernel's queue may be accepted, and else
// sees to it that Accept looks again when it may. The caller holds mu.
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

// acceptable: a port that drops by IP_MINTTL still hands out what was queued before. One that drops
// by a full accept queue has its own filler there, and the rest in rescued.
func (p *port) acceptable() bool {
	answers := p.state.Answer == network.Listen || p.state.Answer == network.Drop
	return p.ln != nil && answers && (p.minTTL || !p.black)
}

// adopt makes an accepted connection plain, unless the port is cut: it may have inherited IP_MINTTL
// from a listener that just then went black, and would be partitioned forever.
func (p *port) adopt(nc net.Conn) (network.Conn, error) {
	c, err := p.conns.add(nc.(*net.TCPConn), func(c *net.TCPConn) error {
		return healed(c, p.v6)
	})
	if err != nil {
		return nil, err // not c: a nil *conn is no nil network.Conn
	}
	return c, nil
}

// Close gives the port back. Dialers that hang get RST with their next SYN.
func (p *port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	_ = p.control(func(fd int) error {
		p.endDrop(fd) // the counts outlive the socket
		p.leaveQueues(fd)
		_ = setReuseAddr(fd, 1) // a child that is being forked may have a copy: net.Listen can bind beside it
		return unix.Shutdown(fd, unix.SHUT_RD)
	})
	p.closed = true
	old := p.shake
	p.shake = nil
	p.gen++
	p.wake()
	p.mu.Unlock()
	old.stop()
	err := p.release()
	p.unfill()
	p.abortRescued()
	return err
}

// abortRescued does with what waits for Accept outside the kernel's queue as the kernel does with
// what is in it.
func (p *port) abortRescued() {
	for _, a := range p.rescued {
		abort(a.conn)
	}
	p.rescued = nil
}

func (p *port) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: p.addr, Err: err}
}

// Visits counts the connections that were made and the SYNs that were dropped. A connect that is
// refused leaves no trace.
func (p *port) Visits() network.Visits {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := p.state.Answer == network.Listen || p.state.Answer == network.Drop
	c := network.Visits{Count: int(p.met.Load()) + p.dropped, Complete: answers}
	if !p.closed && p.listening {
		open, dropped, err := p.metByKernel()
		c.Open, c.Count, c.Complete = open, c.Count+open+dropped, answers && err == nil
	}
	return c
}

// metByKernel returns how many connections wait in either queue, and how many SYNs were dropped
// that p.dropped does not have. The caller holds mu.
func (p *port) metByKernel() (open, dropped int, err error) {
	err = p.control(func(fd int) (err error) {
		if open, err = queued(fd); err == nil && p.counting {
			dropped, err = p.total(fd)
			dropped -= p.dropped
		}
		return err
	})
	if p.filler != nil && open > 0 {
		open--
	}
	return open + len(p.rescued), dropped, err
}

// leaveQueues counts what waits in both queues before it is reset. The caller holds mu.
func (p *port) leaveQueues(fd int) {
	if n, err := queued(fd); err == nil && p.listening {
		p.met.Add(int64(n))
	}
	p.met.Add(int64(len(p.rescued)))
}

// Mechanism names what makes the port answer as it does now, for reports about a platform.
func (p *port) Mechanism() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	switch {
	case s.Answer == network.Drop:
		return p.dropMechanism()
	case s.Answer != network.Listen:
		return "bound, not listening"
	case s.Handshake > 0 && p.shake != nil && p.shake.diag != nil:
		return p.dropMechanism() + ", then simultaneous open"
	case s.Handshake > 0:
		return p.dropMechanism() + ", until a SYN is sent again"
	}
	text := "listening"
	if s.Backlog > 0 {
		text = fmt.Sprintf("listen(fd, %d)", s.Backlog-1)
	}
	if s.SmallWindow {
		text += ", " + WindowMechanism
	}
	return text + held(s)
}

func (p *port) dropMechanism() string {
	switch {
	case !p.minTTL:
		return "full accept queue"
	case p.v6:
		return "IPV6_MINHOPCOUNT"
	}
	return "IP_MINTTL"
}
