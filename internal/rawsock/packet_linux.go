package rawsock

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusePackets connects the socket to itself. Nobody else's datagram then matches it, nor any other socket, and the
// port stays taken: the kernel answers with ICMP (RFC 1122, section 4.1.3.1).
func refusePackets(c *net.UDPConn) error {
	a := c.LocalAddr().(*net.UDPAddr)
	return control(c, func(fd int) error {
		return os.NewSyscallError("connect", unix.Connect(fd, sockaddr(&net.TCPAddr{IP: a.IP, Port: a.Port})))
	})
}

// servePackets dissolves that (connect(2): AF_UNSPEC). The bound address stays, as it was bound by number.
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
