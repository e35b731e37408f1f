package rawsock

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// canDrop tells whether IP_MINTTL really drops here: a successful setsockopt proves nothing (gVisor takes the option
// and ignores it; a default TTL of 255 passes it), so each family is tried once per process, on a socket of its own.
func canDrop(v6 bool) bool {
	if v6 {
		return canDrop6()
	}
	return canDrop4()
}

var (
	canDrop4 = sync.OnceValue(func() bool { return probeDrop(net.IPv4(127, 0, 0, 1)) })
	canDrop6 = sync.OnceValue(func() bool { return probeDrop(net.IPv6loopback) })
)

// probeDrop dials a listener that should drop and waits for evidence: the socket's own count of drops. Without any
// within the limit it says no, which costs nothing but the fallback.
func probeDrop(ip net.IP) bool {
	p, err := bindPort(&net.TCPAddr{IP: ip}, true)
	if err != nil {
		return false
	}
	defer func() { _ = p.Close() }()
	dropped := false
	_ = p.control(func(fd int) error {
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
	return dropped
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
