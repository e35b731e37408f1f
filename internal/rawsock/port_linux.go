package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// A port is one socket that is bound by number for its whole life and listens only while it must. What it answers is
// changed on that socket, so the address is never free for anybody else, not even for an instant.
type port struct {
	addr   *net.TCPAddr
	v6     bool
	minTTL bool // drop by IP_MINTTL; else by a full accept queue

	mu        sync.Mutex
	changed   *sync.Cond       // the state, or closed
	taking    sync.RWMutex     // held for reading in accept(2)
	fd        int              // the bound socket, until it is ln
	ln        *net.TCPListener // the same socket on Go's poller, from when it first listened
	queue     queue            // who waits in the accept queue; only for Hold
	listening bool             // listen(2) is in force
	state     network.State
	gen       int // counts the changes of state
	closed    bool
	buffer    int          // the listener's receive buffer while a small window is in force, to go back to; else 0
	black     bool         // SYNs are dropped
	counting  bool         // what is dropped is counted
	dropBase  int          // the kernel's count when counting began
	dropped   int          // what was dropped in earlier such times
	filler    net.Conn     // fills the accept queue, without minTTL
	rescued   []arrival    // connected, not accepted, and not in the kernel's accept queue; ahead of those that are
	met       atomic.Int64 // connections that are no longer in either queue
	conns     conns        // accepted, those in rescued included
	shake     *handshake
}

func newPort(fd int, addr *net.TCPAddr, minTTL bool) *port {
	p := &port{addr: addr, v6: addr.IP.To4() == nil, minTTL: minTTL, fd: fd}
	p.changed = sync.NewCond(&p.mu)
	p.queue = queue{mu: &p.mu, length: queued, listener: func() (*os.File, error) { return p.ln.File() }}
	return p
}

func (p *port) Addr() net.Addr { return p.addr }

// control runs f on the socket. The caller holds mu.
func (p *port) control(f func(fd int) error) error {
	if p.ln != nil {
		return control(p.ln, f)
	}
	return f(p.fd)
}

// Become changes the answer; see [network.Port].
func (p *port) Become(s network.State) error {
	if err := checkTCP(s); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return p.opError("become", net.ErrClosed)
	}
	old := p.shake
	p.shake = nil
	err := p.enter(s)
	p.mu.Unlock()
	old.stop() // outside the lock, which it may be waiting for
	return err
}

// enter stops every Accept, makes the system calls for s and lets Accept look at the new state. The caller holds mu.
func (p *port) enter(s network.State) error {
	p.gen++
	p.wake()
	p.taking.Lock() // none is inside accept(2) now, and none can get there before mu is free
	defer p.taking.Unlock()
	listened := p.listening
	err := p.answer(s)
	switch {
	case err == nil:
		p.state = s
	case !listened:
		err = errors.Join(err, p.control(p.refuse)) // nothing is left listening that did not listen before
	case s.Cut:
		err = errors.Join(err, p.answer(p.state))
	}
	return err
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
		if err := p.poll(); err != nil { // first: it is what fails without descriptors
			return err
		}
	}
	return p.control(func(fd int) error {
		switch s.Answer {
		case network.Listen:
			if err := p.setWindow(fd, s.SmallWindow); err != nil {
				return err
			}
			if s.Handshake > 0 {
				return p.delay(fd, s)
			}
			return p.listen(fd, s.Backlog)
		case network.Drop:
			return p.drop(fd)
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
	// Cleared while we still listen, so that there is no instant in which net.Listen, which sets it, could bind here.
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

// listen answers SYNs, from any other state. What waits outside the kernel's queue takes room in it all the same.
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
	p.endDrop(fd)
	if err := p.startListening(fd, ask); err != nil {
		return err
	}
	if limit > 0 {
		p.count(fd)
	}
	if p.filler != nil {
		p.takeFiller(fd)
	}
	if p.minTTL {
		if err := setMinTTL(fd, p.v6, 0); err != nil {
			return err
		}
	}
	return nil
}

// poll hands the socket over to package net, and so to Go's poller, the first time.
func (p *port) poll() error {
	if p.ln != nil {
		return nil
	}
	ln, err := handOver(p.fd, p.addr.String())
	if err != nil {
		return err
	}
	p.fd, p.ln = -1, ln.(*net.TCPListener)
	return nil
}

// handOver makes a listener of a socket and closes fd; after an error fd is as it was. A file that is made of a blocking
// descriptor is kept off the poller, which would only be a detour here: net.FileListener takes a duplicate, makes the
// socket non-blocking again and registers that.
func handOver(fd int, name string) (net.Listener, error) {
	// A duplicate, since a file closes its descriptor whatever becomes of it, by a finalizer at the latest.
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, outOfDescriptors(os.NewSyscallError("fcntl", err))
	}
	if err := unix.SetNonblock(dup, false); err != nil {
		_ = unix.Close(dup)
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), name)
	ln, err := net.FileListener(f)
	_ = f.Close()
	if err != nil {
		_ = unix.SetNonblock(fd, true) // which fd shares with its duplicates
		return nil, outOfDescriptors(err)
	}
	_ = unix.Close(fd)
	return ln, nil
}

// outOfDescriptors adds the remedy, if that is what err is about.
func outOfDescriptors(err error) error {
	if !noDescriptors(err) {
		return err
	}
	return fmt.Errorf("no descriptors left; close what the test holds open, or raise ulimit -n: %w", err)
}

// startListening calls listen(2). SO_REUSEADDR is needed for listening again beside connections of an earlier time
// (or their TIME_WAIT), and lets others take a port that does not listen; so it is set as late as can be.
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

// wake makes every Accept return from the kernel and look at the state again. The caller holds mu.
func (p *port) wake() {
	if p.ln != nil {
		_ = p.ln.SetDeadline(time.Unix(1, 0))
	}
	p.queue.wake()
	p.changed.Broadcast()
}

// Close gives the port back. Dialers that hang get RST with their next SYN.
func (p *port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	_ = p.control(func(fd int) error { p.endDrop(fd); p.leaveQueues(fd); return nil }) // the counts outlive the socket
	p.closed = true
	old := p.shake
	p.shake = nil
	p.gen++
	p.wake()
	p.mu.Unlock()
	old.stop()
	return p.release()
}

// release closes every descriptor, once closed is set, after which nothing else touches them. The caller must not hold mu.
func (p *port) release() error {
	var err error
	if p.ln != nil {
		err = p.ln.Close()
	} else {
		err = os.NewSyscallError("close", unix.Close(p.fd))
	}
	p.queue.close()
	p.unfill()
	p.abortRescued()
	return err
}

// abortRescued does with what waits for Accept outside the kernel's queue as the kernel does with what is in it.
func (p *port) abortRescued() {
	for _, a := range p.rescued {
		abort(a.conn)
	}
	p.rescued = nil
}

func (p *port) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: p.addr, Err: err}
}
