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

// Visits counts no datagrams, but shows whether one waits to be read.
func (p *packetPort) Visits() network.Visits {
	n := 0
	err := control(p.UDPConn, func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.SIOCINQ); return err })
	if err != nil || n == 0 {
		return network.Visits{}
	}
	return network.Visits{Open: 1}
}
