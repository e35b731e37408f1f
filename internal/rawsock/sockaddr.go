//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows

package rawsock

import (
	"net"
	"syscall"
)

func familyOf(a *net.TCPAddr) int {
	if a.IP.To4() != nil {
		return syscall.AF_INET
	}
	return syscall.AF_INET6
}

func sockaddr(a *net.TCPAddr) syscall.Sockaddr {
	if ip := a.IP.To4(); ip != nil {
		return &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	return &syscall.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
}

// inetPort returns the port of an address that sockaddr could have made.
func inetPort(sa syscall.Sockaddr) int {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return sa.Port
	case *syscall.SockaddrInet6:
		return sa.Port
	}
	return 0
}
