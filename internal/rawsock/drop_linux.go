package rawsock

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
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

// A filler is our own client, which fills an accept queue.
type filler struct {
	fd int // -1 once it is closed
	at netip.AddrPort
}

// fill connects the filler. Its socket is kept until it is known what fills the queue: a filler
// that was given up while its connection is there would be taken for a client.
func (p *port) fill(fd int) error {
	own, port, err := boundSocket(&net.TCPAddr{IP: p.addr.IP})
	if err != nil {
		return outOfDescriptors(err)
	}
	f := &filler{own, (&net.TCPAddr{IP: p.addr.IP, Port: port}).AddrPort()}
	f.at = netip.AddrPortFrom(f.at.Addr().Unmap(), f.at.Port())
	err = connect(own, p.addr)
	for end := time.Now().Add(2 * time.Second); errors.Is(err, unix.ETIMEDOUT); {
		n, lengthErr := queued(fd)
		err = awaitConnected(own) // after the look at the queue, which it may have joined
		switch {
		case !errors.Is(err, unix.ETIMEDOUT):
		case n > 0, errors.Is(lengthErr, errors.ErrUnsupported): // only a full queue leaves it without an answer
			_ = unix.Close(own)
			return nil // full: by a dialer that was quicker
		case lengthErr != nil, time.Now().After(end):
			_ = unix.Close(own)
			return cmp.Or(lengthErr, err)
		}
	}
	if err != nil {
		_ = unix.Close(own)
		return err
	}
	p.filler = f
	fillers.Store(p.fillersEnds(), nil)
	return nil
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
		spare, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) // what is accepted takes two, and else would be lost
		if err != nil {
			return explainOpen(p.addr, os.NewSyscallError("fcntl", err))
		}
		nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		_ = unix.Close(spare)
		switch {
		case err == unix.ECONNABORTED || err == unix.EINTR:
			continue
		case err == unix.EAGAIN || err == unix.EINVAL: // there is none, or it does not listen
			return nil
		case err != nil:
			return explainOpen(p.addr, os.NewSyscallError("accept4", err))
		}
		if err := p.keepAccepted(nfd); err != nil {
			return err
		}
	}
}

// keepAccepted holds what accept(2) has returned ready for Accept.
func (p *port) keepAccepted(fd int) error {
	f := os.NewFile(uintptr(fd), "accepted")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return explainOpen(p.addr, err)
	}
	return p.keep(c, p.queue.taken())
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

// takeFiller removes our own connection from the queue, where it may have been recorded. A dialer
// that was quicker may be ahead of it.
func (p *port) takeFiller(fd int) error {
	if p.filler == nil {
		return nil
	}
	p.queue.arrivals = nil
	for {
		nfd, from, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case noDescriptors(err) && p.filler.fd >= 0:
			p.filler.close() // which leaves one
		case noDescriptors(err):
			return explainOpen(p.addr, os.NewSyscallError("accept4", err))
		case err == unix.EINTR || err == unix.ECONNABORTED:
		case err != nil: // it is gone
			p.unfill()
			return nil
		case addrPort(from) == p.filler.at:
			_ = unix.SetsockoptLinger(nfd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(nfd)
			p.unfill()
			return nil
		default:
			if err := p.keepAccepted(nfd); err != nil {
				return err
			}
		}
	}
}

// fillersEnds is by what a filler is known.
func (p *port) fillersEnds() [2]string { return [2]string{p.filler.at.String(), p.addr.String()} }

// unfill closes the filler's own end.
func (p *port) unfill() {
	if p.filler == nil {
		return
	}
	p.filler.close()
	fillers.Delete(p.fillersEnds())
	p.filler = nil
}

// close closes with RST: no TIME_WAIT.
func (f *filler) close() {
	if f.fd < 0 {
		return
	}
	_ = unix.SetsockoptLinger(f.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(f.fd)
	f.fd = -1
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
