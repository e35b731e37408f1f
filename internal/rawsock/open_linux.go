package rawsock

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// openPatience, in milliseconds, is how long a client may take to answer a SYN with its own. On loopback it answers
// before connect(2) returns.
const openPatience = 50

// open completes the connect of a client that hangs, and hands the connection to Accept. It returns false if the client
// hangs on.
func (p *port) open(h *handshake, client diagSocket) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shake != h || p.closed {
		return true
	}
	now, err := diagOne(client.local, client.remote)
	if err != nil || now.inode != client.inode || now.state != tcpSynSent {
		return true // it has given up: whoever has its address now is not to be bothered
	}
	if now.mptcp {
		return false // it knows no simultaneous open, and the attempt would cost it 15 s
	}
	c, err := p.connectTo(client, h.small)
	if err != nil {
		now, err = diagOne(client.local, client.remote)
		return err != nil || now.inode != client.inode || now.state != tcpSynSent
	}
	p.rescued = append(p.rescued, c)
	p.gen++ // Accept looks again
	p.wake()
	return true
}

// connectTo connects to a client in SYN_SENT, from the port. The caller holds mu.
func (p *port) connectTo(client diagSocket, small bool) (net.Conn, error) {
	fd, err := p.twin()
	if err != nil {
		return nil, err
	}
	if small {
		if err := shrinkWindow(uintptr(fd)); err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
	}
	if err := awaitConnect(fd, client); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "opened")
	defer f.Close()
	return net.FileConn(f)
}

func awaitConnect(fd int, client diagSocket) error {
	err := unix.Connect(fd, sockaddr(net.TCPAddrFromAddrPort(client.local)))
	if err == nil || err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, openPatience)
	for err == unix.EINTR { // by the runtime's own signals
		n, err = unix.Poll(poll, openPatience)
	}
	switch {
	case err != nil:
		return os.NewSyscallError("poll", err)
	case n == 0:
		return os.NewSyscallError("connect", unix.ETIMEDOUT)
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return os.NewSyscallError("connect", err)
}

// twin binds a second socket to the port, beside the one that listens. That takes SO_REUSEPORT on both, and only while
// bind(2) looks: in those microseconds a socket of the same user that has set it too could bind here, at no other time.
// The caller holds mu.
func (p *port) twin() (int, error) {
	family := unix.AF_INET
	if p.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// As an accepted connection has it: the two then do not bar each other, nor it us from listening again.
	err = setReuseAddr(fd, 1)
	if err == nil {
		err = setReusePort(fd, 1)
	}
	if err == nil {
		err = p.control(func(listener int) error { return bindBeside(fd, listener, p.addr) })
	}
	if err == nil {
		err = setReusePort(fd, 0)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindBeside(fd, listener int, a *net.TCPAddr) error {
	if err := setReusePort(listener, 1); err != nil {
		return err
	}
	err := os.NewSyscallError("bind", unix.Bind(fd, sockaddr(a)))
	if err2 := setReusePort(listener, 0); err == nil {
		err = err2
	}
	return err
}

func setReusePort(fd, on int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, on))
}

// canOpen tells whether sock_diag and simultaneous open work here (gVisor has neither); each family is tried once per
// process.
func canOpen(v6 bool) bool {
	if v6 {
		return canOpen6()
	}
	return canOpen4()
}

var (
	canOpen4 = sync.OnceValue(func() bool { return probeOpen(net.IPv4(127, 0, 0, 1)) })
	canOpen6 = sync.OnceValue(func() bool { return probeOpen(net.IPv6loopback) })
)

func probeOpen(ip net.IP) bool {
	p, err := bindPort(&net.TCPAddr{IP: ip}, true)
	if err != nil {
		return false
	}
	defer func() { _ = p.Close() }()
	client, _, err := boundSocket(&net.TCPAddr{IP: ip})
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(client) }()
	p.mu.Lock()
	defer p.mu.Unlock() // before the Close above
	if err := p.control(p.drop); err != nil {
		return false
	}
	_ = unix.Connect(client, sockaddr(p.addr)) // EINPROGRESS: the SYN is dropped
	hanging, err := diagConnecting(literal(p.addr))
	if err != nil || len(hanging) != 1 {
		return false
	}
	c, err := p.connectTo(hanging[0], false)
	if err != nil {
		return false
	}
	abort(c)
	return true
}
