package rawsock

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SocketsTo returns this process's sockets whose other end is addr: the inode by local address. Inodes name sockets, as
// descriptors do not: they are not used again soon.
func SocketsTo(addr net.Addr) (map[string]uint64, error) {
	return socketsBy(func(local, peer string) (string, bool) { return local, peer == addr.String() })
}

// SocketsAt returns this process's connected sockets whose own end is addr: the inode by the other end's address.
func SocketsAt(addr net.Addr) (map[string]uint64, error) {
	return socketsBy(func(local, peer string) (string, bool) { return peer, local == addr.String() })
}

// socketsBy returns the inodes of the process's connected sockets that key takes, by key.
func socketsBy(key func(local, peer string) (string, bool)) (map[string]uint64, error) {
	found := map[string]uint64{}
	err := eachSocket(func(fd int, inode uint64) {
		peer, err := unix.Getpeername(fd)
		if err != nil {
			return
		}
		local, err := unix.Getsockname(fd)
		if err != nil {
			return
		}
		if k, ok := key(addrPort(local).String(), addrPort(peer).String()); ok {
			found[k] = inode
		}
	})
	return found, err
}

// HasSocket tells whether this process has the socket open.
func HasSocket(inode uint64) bool {
	has := false
	_ = eachSocket(func(_ int, i uint64) { has = has || i == inode })
	return has
}

// Inodes returns those of all sockets that this process has open.
func Inodes() (map[uint64]bool, error) {
	all := map[uint64]bool{}
	err := eachSocket(func(_ int, inode uint64) { all[inode] = true })
	return all, err
}

// Sockets returns all sockets that this process has open, in no order. It is a look at a process that goes on: what is
// opened or closed meanwhile may be in it or not.
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
	if remote, err := unix.Getpeername(fd); err == nil {
		s.Remote = addressText(remote)
	}
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

// eachSocket goes through the process's own descriptors; no other process can confuse it, as /proc/net could.
func eachSocket(f func(fd int, inode uint64)) error {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range dir {
		name, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil {
			continue // closed meanwhile
		}
		num, ok := strings.CutPrefix(name, "socket:[")
		if !ok {
			continue
		}
		inode, err1 := strconv.ParseUint(strings.TrimSuffix(num, "]"), 10, 64)
		fd, err2 := strconv.Atoi(e.Name())
		if err1 == nil && err2 == nil {
			f(fd, inode)
		}
	}
	return nil
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
