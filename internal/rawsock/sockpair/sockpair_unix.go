//go:build unix

package sockpair

import (
	"runtime"
	"strings"
	"syscall"
	"time"
)

// New returns two stream sockets that are connected to each other and never block.
func New() (near, far int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return -1, -1, err
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		_ = syscall.SetNonblock(fd, true)
	}
	return fds[0], fds[1], nil
}

// Read is read(2).
func Read(fd int, b []byte) (int, error) { return syscall.Read(fd, b) }

// Peek is recv(2) with MSG_PEEK.
func Peek(fd int, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(fd, b, syscall.MSG_PEEK)
	return n, err
}

// Write is write(2).
func Write(fd int, b []byte) (int, error) { return syscall.Write(fd, b) }

// CloseWrite is shutdown(2) with SHUT_WR.
func CloseWrite(fd int) { _ = syscall.Shutdown(fd, syscall.SHUT_WR) }

// Close is close(2).
func Close(fd int) { _ = syscall.Close(fd) }

// Unconnected returns a socket of that network, such as "tcp4" or "udp", whose options can be set.
func Unconnected(network string) (fd int, err error) {
	family, kind := syscall.AF_INET6, syscall.SOCK_STREAM
	if strings.HasSuffix(network, "4") {
		family = syscall.AF_INET
	}
	if strings.HasPrefix(network, "udp") {
		kind = syscall.SOCK_DGRAM
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err = syscall.Socket(family, kind, 0)
	if err == syscall.EAFNOSUPPORT { // the machine has no IPv6
		fd, err = syscall.Socket(syscall.AF_INET, kind, 0)
	}
	if err != nil {
		return -1, err
	}
	syscall.CloseOnExec(fd)
	return fd, syscall.SetNonblock(fd, true)
}

// tcpUserTimeout is Linux's; other systems lack the option, or have another number.
const tcpUserTimeout = 18

// UserTimeout returns the TCP_USER_TIMEOUT of a socket; 0 where there is none.
func UserTimeout(fd int) time.Duration {
	if runtime.GOOS != "linux" {
		return 0
	}
	ms, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// SetUserTimeout sets it, on Linux.
func SetUserTimeout(fd int, d time.Duration) error {
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
}
