package sockettest

import (
	"net"
	"os"
	"syscall"
	"testing"

	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/rawsock"
)

// ListenConfig returns a [*net.ListenConfig] for servers under test that take nothing else: whatever they listen on, TCP or
// UDP, fails with that errno, as package net tells of it when the kernel says so: EADDRINUSE, EADDRNOTAVAIL and EACCES from
// bind, EMFILE, ENFILE and ENOBUFS from socket. Nothing is bound. Other errnos are fatal: listening does not end in them.
// In a disarmed run (SOCKETTEST_DISARM=1) it listens. For a listener that fails later, in Accept, there is [fixtures.AcceptError].
func ListenConfig(t testing.TB, errno syscall.Errno) *net.ListenConfig {
	err := os.NewSyscallError(listenCalls[errno], errno)
	lc := &net.ListenConfig{Control: func(string, string, syscall.RawConn) error { return err }}
	if isNil(t) {
		_ = errNilTB("ListenConfig")
		return lc
	}
	t.Helper()
	if listenCalls[errno] == "" {
		t.Fatalf("bad argument: sockettest.ListenConfig: errno is %d (%s); want one that listening ends in, such as syscall.EADDRINUSE",
			errno, rawsock.ErrnoName(errno))
	}
	if disarm.On() {
		return &net.ListenConfig{}
	}
	return lc
}

// listenCalls are the system calls from which the errnos come: socket(2), bind(2).
var listenCalls = map[syscall.Errno]string{
	syscall.EADDRINUSE: "bind", syscall.EADDRNOTAVAIL: "bind", syscall.EACCES: "bind",
	syscall.EMFILE: "socket", syscall.ENFILE: "socket", syscall.ENOBUFS: "socket",
}
