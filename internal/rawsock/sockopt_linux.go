package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blackTTL makes the kernel drop every segment: loopback packets carry the default TTL, 64, and
// IP_MINTTL drops what has less than asked for (RFC 5082; ip(7)). It needs no privilege.
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

// tcpInfo is TCP_INFO with its counters. QEMU's user mode cuts that off after four bytes, without
// an error, so that package unix's call gives the State alone.
func tcpInfo(fd int) (*unix.TCPInfo, error) {
	info := new(unix.TCPInfo)
	size, err := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, unsafe.Pointer(info), unsafe.Sizeof(*info))
	if err == nil && size < unsafe.Offsetof(info.Bytes_received)+unsafe.Sizeof(info.Bytes_received) {
		err = unsupported("the state of a connection is not shown", errCutOff)
	}
	return info, err
}

// errCutOff is what a kernel says in four bytes.
var errCutOff = errors.New("the answer of getsockopt is cut off")

// getsockopt returns how much of value was filled.
func getsockopt(fd, level, option int, value unsafe.Pointer, size uintptr) (uintptr, error) {
	n := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(value), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return 0, errno
	}
	return uintptr(n), nil
}

// queued returns how many connections wait in the listener's accept queue: TCP_INFO of a listening
// socket gives it as tcpi_unacked (net/ipv4/tcp.c, tcp_get_info).
func queued(fd int) (int, error) {
	info, err := tcpInfo(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	return int(info.Unacked), nil
}

// drops returns how many segments addressed to this very socket the kernel has dropped:
// SO_MEMINFO's last field, SK_MEMINFO_DROPS (include/uapi/linux/sock_diag.h). It counts SYNs
// under IP_MINTTL as well as those that meet a full accept queue.
func drops(fd int) (int, error) {
	var mem [9]uint32
	size, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_MEMINFO, unsafe.Pointer(&mem), unsafe.Sizeof(mem))
	switch {
	case err != nil:
		return 0, os.NewSyscallError("getsockopt", err)
	case size < unsafe.Sizeof(mem):
		return 0, unsupported("what is dropped is not counted", errCutOff)
	}
	return int(mem[8]), nil
}

// boundSocket opens a plain TCP socket (not MPTCP, which refuses IP_MINTTL) and binds it, without
// SO_REUSEADDR: with it, any net.Listen could take the port from under us.
func boundSocket(a *net.TCPAddr) (fd int, port int, err error) {
	fd, err = unix.Socket(familyOf(a), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	if err := syscall.Bind(fd, sockaddr(a)); err != nil {
		_ = unix.Close(fd)
		return -1, 0, os.NewSyscallError("bind", err)
	}
	if a.Port != 0 {
		return fd, a.Port, nil
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, os.NewSyscallError("getsockname", err)
	}
	return fd, inetPort(sa), nil
}

// PartitionMechanism names what partitions a connection, for reports about a platform.
const PartitionMechanism = "IP_MINTTL or IPV6_MINHOPCOUNT on the connection"

// partition makes the kernel drop every segment that arrives for c, as Drop does with SYNs. It
// needs no privilege, no process in between and no copy, and loses nothing but time.
func partition(c *net.TCPConn, v6 bool) error { return partitionIf(canDrop(v6), c, v6) }

func partitionIf(works bool, c *net.TCPConn, v6 bool) error {
	return control(c, func(fd int) error {
		if !works {
			return fmt.Errorf("linux: IP_MINTTL has no effect on this kernel (or its default TTL is 255): %w", errors.ErrUnsupported)
		}
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		switch {
		case err != nil:
			return os.NewSyscallError("getsockopt", err)
		case protocol == unix.IPPROTO_MPTCP:
			return fmt.Errorf("linux: the connection is MPTCP, which takes no IP_MINTTL; use net.Dialer.SetMultipathTCP(false): %w",
				errors.ErrUnsupported)
		}
		return setMinTTL(fd, v6, blackTTL)
	})
}

// healed undoes partition. Where the option does not exist, as in gVisor and QEMU's user mode,
// nothing was partitioned.
func healed(c *net.TCPConn, v6 bool) error {
	err := control(c, func(fd int) error { return setMinTTL(fd, v6, 0) })
	if errors.Is(err, unix.ENOPROTOOPT) {
		return nil
	}
	return err
}

// smallSegment is TCP_MAXSEG for a small window. The other side's kernel sizes its send buffer
// by the segments that it may send, and those of loopback are 64 KiB.
const smallSegment = 1448

// WindowMechanism names what makes a window small, for reports about a platform.
const WindowMechanism = "TCP_MAXSEG 1448, SO_RCVBUF 1"

// shrinkWindow makes fd's receive window as small as the kernel allows, for connections made from
// now on. On Linux 6.18 the other side's writes then block after 30,528 bytes.
func shrinkWindow(fd uintptr) error {
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, smallSegment); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
}

// setWindow makes the window small, or restores it. The options also work on a socket that
// listens: a connection gets what is in force when its SYN arrives. They are set each time a
// small window is asked for, since a listener forgets TCP_MAXSEG in shutdown(2) (tcp_disconnect
// clears rx_opt).
func (p *port) setWindow(fd int, small bool) error {
	switch {
	case !small && p.buffer > 0:
		return p.restoreWindow(fd)
	case !small:
		return nil
	case p.buffer == 0:
		buffer, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		p.buffer = buffer
	}
	return shrinkWindow(uintptr(fd))
}

// restoreWindow restores the size of the buffer (the kernel doubles what it is told, socket(7))
// and lets the kernel change it again, which SO_RCVBUF had stopped. SO_BUF_LOCK is in Linux
// since 5.14.
func (p *port) restoreWindow(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_RCVBUF, p.buffer / 2},
		{unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0},
		{unix.IPPROTO_TCP, unix.TCP_MAXSEG, 0},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	p.buffer = 0
	return nil
}
