package rawsock

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A probe is what was found out about this kernel, once per process.
type probe struct {
	mu           sync.Mutex
	known, works bool
}

// ask tries it the first time. That there were no descriptors says nothing about the kernel: then it is tried again.
func (p *probe) ask(try func() (bool, error)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		works, err := try()
		p.works, p.known = works && err == nil, !noDescriptors(err)
	}
	return p.works
}

// canDrop tells whether IP_MINTTL really drops here: a successful setsockopt proves nothing (gVisor takes the option
// and ignores it; a default TTL of 255 passes it), so each family is tried once per process, on a socket of its own.
func canDrop(v6 bool) bool {
	if v6 {
		return canDrop6.ask(func() (bool, error) { return probeDrop(net.IPv6loopback) })
	}
	return canDrop4.ask(func() (bool, error) { return probeDrop(net.IPv4(127, 0, 0, 1)) })
}

var canDrop4, canDrop6 probe

// probeDrop dials a listener that should drop and waits for evidence: the socket's own count of drops. Without any
// within the limit it says no, which costs nothing but the fallback.
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
		_ = unix.Connect(client, sockaddr(p.addr)) // EINPROGRESS: the SYN is on its way
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
