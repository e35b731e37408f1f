package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Clients returns the local ports of this process's sockets that may be connected to a TCP or
// UDP port: sockets that are, and sockets without another end, such as a UDP socket that is not
// connected or a TCP socket that was reset.
func Clients(udp bool, port int) (map[uint16]bool, error) {
	kind := unix.SOCK_STREAM
	if udp {
		kind = unix.SOCK_DGRAM
	}
	all := map[uint16]bool{}
	err := eachSocket(func(fd int, _ uint64) {
		local, err := unix.Getsockname(fd)
		own := addrPort(local)
		if err != nil || own.Port() == 0 || !hasOption(fd, unix.SO_TYPE, kind) {
			return
		}
		if remote, err := unix.Getpeername(fd); err == nil && int(addrPort(remote).Port()) != port {
			return
		} else if err != nil && hasOption(fd, unix.SO_ACCEPTCONN, 1) { // a listener
			return
		}
		all[own.Port()] = true
	})
	return all, err
}

func hasOption(fd, option, value int) bool {
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	return err == nil && got == value
}

// Sockets returns all sockets that this process has open, in no order. Sockets that are opened
// or closed meanwhile may be included or not.
func Sockets() ([]Socket, error) {
	seen := map[uint64]bool{}
	var found []Socket
	err := eachSocket(func(fd int, inode uint64) {
		if !seen[inode] {
			seen[inode] = true
			found = append(found, describe(fd, inode))
		}
	})
	return found, err
}

func describe(fd int, inode uint64) Socket {
	s := Socket{Inode: inode, Family: family(fd)}
	if local, err := unix.Getsockname(fd); err == nil {
		s.Local = addressText(local)
	}
	s.Remote = remoteText(fd)
	if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		s.State = tcpState(info.State)
	}
	return s
}

// family names the socket as package net does.
func family(fd int) string {
	domain, err1 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	protocol, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err1 != nil || err2 != nil {
		return "unknown" // closed meanwhile
	}
	name := map[int]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_MPTCP: "tcp", unix.IPPROTO_UDP: "udp"}[protocol]
	switch {
	case domain == unix.AF_UNIX:
		return "unix"
	case domain == unix.AF_INET && name != "":
		return name + "4"
	case domain == unix.AF_INET6 && name != "":
		return name + "6"
	}
	return fmt.Sprintf("domain %d protocol %d", domain, protocol)
}

func addressText(sa unix.Sockaddr) string {
	if u, ok := sa.(*unix.SockaddrUnix); ok {
		return u.Name
	}
	if a := addrPort(sa); a.IsValid() && a.Port() != 0 {
		return a.String()
	}
	return ""
}

// remoteText returns the address of the other end. SO_PEERNAME still has it when the connection
// has ended and getpeername(2) fails with ENOTCONN (net/core/sock.c, net/ipv4/af_inet.c).
func remoteText(fd int) string {
	for _, size := range []uint32{unix.SizeofSockaddrInet4, unix.SizeofSockaddrInet6} { // never more than there is: EINVAL
		var raw unix.RawSockaddrInet6
		n := size
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME,
			uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&n)), 0)
		switch {
		case errno != 0:
		case raw.Family == unix.AF_INET && n == unix.SizeofSockaddrInet4:
			v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&raw))
			return ipText(netip.AddrFrom4(v4.Addr), v4.Port)
		case raw.Family == unix.AF_INET6 && n == unix.SizeofSockaddrInet6:
			return ipText(netip.AddrFrom16(raw.Addr), raw.Port)
		}
	}
	if remote, err := unix.Getpeername(fd); err == nil {
		return addressText(remote)
	}
	return ""
}

// ipText is empty if the port is 0. The port is in network order.
func ipText(a netip.Addr, port uint16) string {
	if port == 0 {
		return ""
	}
	host := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
	return netip.AddrPortFrom(a.Unmap(), host).String()
}

// eachSocket calls f for each socket of the process. It goes through the process's own
// descriptors, since /proc/net shows other processes' too.
func eachSocket(f func(fd int, inode uint64)) error {
	dir, err := os.Open("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("linux without /proc: the process's sockets are not listed (%w): %w", err, errors.ErrUnsupported)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		var s unix.Stat_t
		fd, bad := strconv.Atoi(name)
		if bad == nil && unix.Fstat(fd, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFSOCK { // else closed meanwhile
			f(fd, s.Ino)
		}
	}
	return err
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
