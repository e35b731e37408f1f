//go:build unix

package sockpair

import "syscall"

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
