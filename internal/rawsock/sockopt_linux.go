package rawsock

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blackTTL makes the kernel drop every segment: loopback packets carry the default TTL, 64, and IP_MINTTL drops what
// has less than asked for (RFC 5082; ip(7)). No privilege is needed.
const blackTTL = 255

// setMinTTL sets or clears (0) the least TTL that segments to this socket must carry.
func setMinTTL(fd int, v6 bool, ttl int) error {
	if v6 {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl))
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl))
}

func setReuseAddr(fd, on int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, on))
}

func listen(fd, backlog int) error {
	return os.NewSyscallError("listen", unix.Listen(fd, backlog))
}

// queued returns how many connections wait in the listener's accept queue: TCP_INFO of a listening socket gives it
// as tcpi_unacked (net/ipv4/tcp.c, tcp_get_info).
func queued(fd int) (int, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	return int(info.Unacked), nil
}

// drops returns how many segments the kernel has dropped that were addressed to this very socket: SO_MEMINFO's last
// field, SK_MEMINFO_DROPS (include/uapi/linux/sock_diag.h). Both a SYN under IP_MINTTL and one that meets a full
// accept queue are counted there.
func drops(fd int) (int, error) {
	var mem [9]uint32
	size := uint32(unsafe.Sizeof(mem))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&mem)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt", errno)
	}
	return int(mem[8]), nil
}

func sockaddr(a *net.TCPAddr) unix.Sockaddr {
	if ip := a.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
}

// boundSocket opens a plain TCP socket (not MPTCP, which refuses IP_MINTTL) and binds it, without SO_REUSEADDR: with
// it, any net.Listen could take the port from under us.
func boundSocket(a *net.TCPAddr) (fd int, port int, err error) {
	family := unix.AF_INET
	if a.IP.To4() == nil {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, sockaddr(a)); err != nil {
		_ = unix.Close(fd)
		return -1, 0, os.NewSyscallError("bind", err)
	}
	if a.Port != 0 {
		return fd, a.Port, nil
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		port = sa.Port
	case *unix.SockaddrInet6:
		port = sa.Port
	}
	return fd, port, nil
}
