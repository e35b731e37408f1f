package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
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

// holds reports whether a socket of this process keeps others from a TCP or UDP address. One that
// shares is not kept from it by connections with SO_REUSEADDR, such as those that were accepted.
func holds(udp bool, at netip.AddrPort, shares bool) (held bool, err error) {
	kind := unix.SOCK_STREAM
	if udp {
		kind = unix.SOCK_DGRAM
	}
	err = eachSocket(func(fd int, _ uint64) {
		local, err := unix.Getsockname(fd)
		own := addrPort(local)
		elsewhere := own.Addr() != at.Addr() && !own.Addr().IsUnspecified() && !at.Addr().IsUnspecified()
		if held || err != nil || own.Port() != at.Port() || elsewhere || !hasOption(fd, unix.SO_TYPE, kind) {
			return
		}
		size := uint32(unix.SizeofSockaddrInet6)
		if _, v4 := local.(*unix.SockaddrInet4); v4 {
			size = unix.SizeofSockaddrInet4
		}
		held = !shares || !hasOption(fd, unix.SO_REUSEADDR, 1) || remoteText(fd, size) == ""
	})
	return held, err
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

// describe asks as little as it can: a process may have thousands, and asks for them often.
func describe(fd int, inode uint64) Socket {
	s := Socket{Inode: inode}
	local, err := unix.Getsockname(fd)
	if err == nil {
		s.Local = addressText(local)
	}
	s.Family = family(fd, local)
	switch s.Family {
	case "unix":
		s.Remote = peerText(fd)
		return s
	case "tcp4", "udp4":
		s.Remote = remoteText(fd, unix.SizeofSockaddrInet4)
	default:
		s.Remote = remoteText(fd, unix.SizeofSockaddrInet6)
	}
	if !strings.HasPrefix(s.Family, "udp") {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			s.State = tcpState(info.State)
		}
	}
	return s
}

// family names the socket as package net does.
func family(fd int, local unix.Sockaddr) string {
	version := ""
	switch local.(type) {
	case *unix.SockaddrUnix:
		return "unix"
	case *unix.SockaddrInet4:
		version = "4"
	case *unix.SockaddrInet6:
		version = "6"
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch {
	case err != nil:
		return "unknown" // closed meanwhile
	case version != "" && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP):
		return "tcp" + version
	case version != "" && protocol == unix.IPPROTO_UDP:
		return "udp" + version
	}
	domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
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

// remoteText returns the address of the other end; size is that of such an address, and no more.
// SO_PEERNAME still has it when the connection has ended and getpeername(2) fails with ENOTCONN
// (net/core/sock.c, net/ipv4/af_inet.c).
func remoteText(fd int, size uint32) string {
	var raw unix.RawSockaddrInet6
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME,
		uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&size)), 0)
	switch {
	case errno == unix.ENOTCONN:
		return ""
	case errno != 0:
		return peerText(fd)
	case raw.Family == unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&raw))
		return ipText(netip.AddrFrom4(v4.Addr), v4.Port)
	case raw.Family == unix.AF_INET6:
		return ipText(netip.AddrFrom16(raw.Addr), raw.Port)
	}
	return ""
}

// peerText returns the address of the other end while the connection lasts.
func peerText(fd int) string {
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return ""
	}
	return addressText(remote)
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
