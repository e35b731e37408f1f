package rawsock

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drop leaves SYNs unanswered: by IP_MINTTL where that works here, else by an accept queue that is
// full.
func (p *port) drop(fd int) error {
	if p.black {
		return nil
	}
	if err := p.goBlack(fd); err != nil {
		return err
	}
	p.black = true
	p.count(fd)
	return nil
}

// count counts what is dropped from now on.
func (p *port) count(fd int) {
	if p.counting {
		return
	}
	base, err := drops(fd)
	if err != nil {
		base = 0
	}
	p.counting, p.dropBase = true, base
}

func (p *port) goBlack(fd int) error {
	if !p.minTTL {
		return p.saturate(fd)
	}
	// Set before listening: born black, no SYN slips in.
	if err := setMinTTL(fd, p.v6, blackTTL); err != nil {
		return err
	}
	if p.listening {
		return nil
	}
	return p.startListening(fd, backlog)
}

// endDrop keeps the count of what was dropped.
func (p *port) endDrop(fd int) {
	p.black = false
	if !p.counting {
		return
	}
	if n, err := p.total(fd); err == nil {
		p.dropped = n
	}
	p.counting = false
}

// Dropped counts the segments that were dropped unanswered; see [network.Port].
// The kernel does not say when.
func (p *port) Dropped() (n int, last time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.counting || p.closed {
		return p.dropped, time.Time{}, nil
	}
	var total int // not n, which would be on the heap although nobody counts
	err = p.control(func(fd int) (err error) {
		total, err = p.total(fd)
		return err
	})
	return total, time.Time{}, err
}

// AwaitDropped waits until n segments were dropped in all; see [network.Port]. The kernel counts
// what it drops and tells nobody, so it is asked each millisecond, which costs under a microsecond.
func (p *port) AwaitDropped(ctx context.Context, n int) (int, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		got, _, err := p.Dropped()
		switch {
		case err != nil || got >= n:
			return got, err
		case ctx.Err() != nil:
			return got, context.Cause(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// total is all that was dropped up to now, while counting.
func (p *port) total(fd int) (int, error) {
	now, err := drops(fd)
	return p.dropped + now - p.dropBase, err
}

// saturate fills an accept queue of backlog 0, which admits one connection (tcp(7): the kernel
// compares with >), with one of our own. Such a queue lets two in when they race, so the filler
// connects before the port counts as black.
func (p *port) saturate(fd int) error {
	if err := p.startListening(fd, 0); err != nil {
		return err
	}
	if err := p.rescue(fd); err != nil {
		return err
	}
	p.queue.arrivals = nil
	return p.fill(fd)
}

// fill connects the filler. Its socket is kept until it is known what fills the queue: a filler
// that was given up while its connection is there would be taken for a client.
func (p *port) fill(fd int) error {
	filler, _, err := boundSocket(&net.TCPAddr{IP: p.addr.IP})
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(filler) }()
	err = connect(filler, p.addr)
	for end := time.Now().Add(2 * time.Second); errors.Is(err, unix.ETIMEDOUT); {
		n, lengthErr := queued(fd)
		err = awaitConnected(filler) // after the look at the queue, which it may have joined
		switch {
		case !errors.Is(err, unix.ETIMEDOUT):
		case n > 0, errors.Is(lengthErr, errors.ErrUnsupported): // only a full queue leaves it without an answer
			return nil // full: by a dialer that was quicker
		case lengthErr != nil:
			return lengthErr
		case time.Now().After(end):
			return err
		}
	}
	if err != nil {
		return err
	}
	if p.filler, err = connOf(filler); err == nil {
		fillers.Store(bothEnds(p.filler), nil)
	}
	return err
}

// cutOff makes all that arrives vanish. Connections that nobody has accepted are accepted here
// first, since only those can be cut.
func (p *port) cutOff(fd int) error {
	if err := p.drop(fd); err != nil {
		return err
	}
	return p.rescue(fd)
}

// rescue takes what is queued, so that Accept still hands out connections made before the port
// went black.
func (p *port) rescue(fd int) error {
	n, err := queued(fd)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	p.queue.only(n)
	for {
		nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == unix.ECONNABORTED || err == unix.EINTR:
			continue
		case err == unix.EAGAIN || err == unix.EINVAL: // there is none, or it does not listen
			return nil
		case err != nil:
			return explainOpen(p.addr, os.NewSyscallError("accept4", err))
		}
		f := os.NewFile(uintptr(nfd), "accepted")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return explainOpen(p.addr, err)
		}
		if err := p.keep(c, p.queue.taken()); err != nil {
			return err
		}
	}
}

// keep holds a connection ready for Accept. since is when it joined the accept queue. The caller
// holds mu.
func (p *port) keep(nc net.Conn, since time.Time) error {
	c, err := p.adopt(nc)
	if err == nil {
		p.rescued = append(p.rescued, arrival{c, since})
	}
	return err
}

// takeFiller removes our own connection from the head of the queue, where it may have been
// recorded.
func (p *port) takeFiller(fd int) {
	p.queue.arrivals = nil
	if nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
		_ = unix.SetsockoptLinger(nfd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(nfd)
	}
	p.unfill()
}

// bothEnds is by what a filler is known.
func bothEnds(c net.Conn) [2]string {
	return [2]string{c.LocalAddr().String(), c.RemoteAddr().String()}
}

// unfill closes the filler's own end with RST: no TIME_WAIT.
func (p *port) unfill() {
	if p.filler == nil {
		return
	}
	_ = p.filler.(*net.TCPConn).SetLinger(0)
	_ = p.filler.Close()
	fillers.Delete(bothEnds(p.filler))
	p.filler = nil
}

// A probe is a fact about this kernel that is found out once per process.
type probe struct {
	mu           sync.Mutex
	known, works bool
}

// ask calls try the first time. If there were no descriptors for it, the next call tries again.
func (p *probe) ask(try func() (bool, error)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		works, err := try()
		p.works, p.known = works && err == nil, !noDescriptors(err)
	}
	return p.works
}

// canDrop reports whether IP_MINTTL really drops here. A successful setsockopt proves nothing:
// gVisor takes the option and ignores it, and a default TTL of 255 passes it. So each family is
// tried once per process, on a socket of its own.
func canDrop(v6 bool) bool {
	if v6 {
		return canDrop6.ask(func() (bool, error) { return probeDrop(net.IPv6loopback) })
	}
	return canDrop4.ask(func() (bool, error) { return probeDrop(net.IPv4(127, 0, 0, 1)) })
}

var canDrop4, canDrop6 probe

// probeDrop dials a listener that should drop and waits for evidence, the socket's own count of
// drops. If there is none within the limit it returns false, which costs no more than the
// fallback.
func probeDrop(ip net.IP) (dropped bool, err error) {
	p, err := bindPort(&net.TCPAddr{IP: ip}, true)
	if err != nil {
		return false, err
	}
	defer func() { _ = p.Close() }()
	err = p.control(func(fd int) error {
		if err := p.drop(fd); err != nil {
			return err
		}
		client, _, err := boundSocket(&net.TCPAddr{IP: ip})
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(client) }()
		_ = syscall.Connect(client, sockaddr(p.addr)) // EINPROGRESS: the SYN is on its way
		dropped = awaitDrop(fd, client)
		return nil
	})
	return dropped, err
}

func awaitDrop(fd, client int) bool {
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		if n, err := drops(fd); err != nil || n > 0 {
			return err == nil
		}
		poll := []unix.PollFd{{Fd: int32(client), Events: unix.POLLOUT}}
		if n, _ := unix.Poll(poll, 1); n > 0 {
			return false // it is connected, or failed
		}
	}
	return false
}
