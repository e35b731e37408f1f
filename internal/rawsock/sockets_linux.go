package rawsock

import (
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
