package rawsock

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// refusePackets connects the socket to itself. Then nobody else's datagram matches this or any
// other socket, and the port stays taken: the kernel answers with ICMP (RFC 1122, section
// 4.1.3.1).
func refusePackets(c *net.UDPConn) error {
	a := c.LocalAddr().(*net.UDPAddr)
	return control(c, func(fd int) error {
		return os.NewSyscallError("connect", syscall.Connect(fd, sockaddr(&net.TCPAddr{IP: a.IP, Port: a.Port})))
	})
}

// servePackets undoes that (connect(2): AF_UNSPEC). The bound address stays, since it was bound
// by number.
func servePackets(c *net.UDPConn) error {
	return control(c, func(fd int) error {
		nobody := unix.RawSockaddr{Family: unix.AF_UNSPEC}
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nobody)), unsafe.Sizeof(nobody))
		if errno != 0 {
			return os.NewSyscallError("connect", errno)
		}
		return nil
	})
}

// ReadFrom also notes that the reader is busy until it calls again: the kernel does not show that a
// datagram was taken, and has yet to be counted.
func (p *packetPort) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	fail := func(err error) (int, net.Addr, error) {
		return 0, nil, &net.OpError{Op: "read", Net: p.LocalAddr().Network(), Source: p.LocalAddr(), Err: err}
	}
	p.setBusy(false)
	raw, err := p.SyscallConn()
	if err != nil {
		return fail(err)
	}
	var sa unix.Sockaddr
	rerr := raw.Read(func(fd uintptr) bool {
		p.reads.Lock()
		defer p.reads.Unlock()
		for n, sa, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT); err == unix.EINTR; {
			n, sa, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
		}
		p.busy = err == nil
		return err != unix.EAGAIN
	})
	switch {
	case rerr != nil:
		if e, ok := rerr.(*net.OpError); ok {
			e.Op = "read" // as package net calls it
		}
		return 0, nil, rerr
	case err != nil:
		return fail(os.NewSyscallError("recvfrom", err))
	}
	return n, net.UDPAddrFromAddrPort(addrPort(sa)), nil
}

func (p *packetPort) setBusy(busy bool) {
	p.reads.Lock()
	defer p.reads.Unlock()
	p.busy = busy
}

// Visits counts no datagrams, but shows whether one waits to be read, or its reader is busy with
// it.
func (p *packetPort) Visits() network.Visits {
	p.reads.Lock()
	defer p.reads.Unlock()
	n := 0
	err := control(p.UDPConn, func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.SIOCINQ); return err })
	if err != nil || n == 0 && !p.busy {
		return network.Visits{}
	}
	return network.Visits{Open: 1}
}
