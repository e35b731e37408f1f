package rawsock

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/windows"
)

func TestErrnos(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		errno syscall.Errno
		name  string
		fault Fault
	}{
		{0, "", NoFault},
		{windows.WSAECONNREFUSED, "WSAECONNREFUSED", Refused},
		{syscall.ECONNREFUSED, "ECONNREFUSED", Refused}, // Go's own
		{windows.WSAECONNRESET, "WSAECONNRESET", ResetByPeer},
		{windows.WSAECONNABORTED, "WSAECONNABORTED", ResetByPeer},
		{windows.ERROR_NETNAME_DELETED, "ERROR_NETNAME_DELETED", ResetByPeer},
		{syscall.EPIPE, "EPIPE", ResetByPeer},
		{windows.WSAETIMEDOUT, "WSAETIMEDOUT", KernelTimeout},
		{windows.ERROR_SEM_TIMEOUT, "ERROR_SEM_TIMEOUT", KernelTimeout},
		{windows.WSAEHOSTUNREACH, "WSAEHOSTUNREACH", Unreachable},
		{windows.WSAENETUNREACH, "WSAENETUNREACH", Unreachable},
		{windows.WSAEMFILE, "WSAEMFILE", Exhausted},
		{windows.WSAENOBUFS, "WSAENOBUFS", Exhausted},
		{windows.WSAEADDRINUSE, "WSAEADDRINUSE", Exhausted},
		{windows.WSAEINVAL, "WSAEINVAL", Invalid},
		{windows.WSAEACCES, "WSAEACCES", Invalid},
		{syscall.ENOENT, "ERROR_FILE_NOT_FOUND", Invalid},
		{windows.WSAENOTCONN, "WSAENOTCONN", UnknownFault}, // means too many things
		{1 << 20, "", UnknownFault},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.fault, FaultOf(tt.errno))
			assert.Equal(t, tt.name, ErrnoName(tt.errno))
		})
	}
}

// What bind explains is found below what package net wraps around it.
func TestErrnosAreFoundInAChain(t *testing.T) {
	t.Parallel()
	wrap := func(e syscall.Errno) error {
		return &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", e)}
	}
	assert.True(t, addressInUse(wrap(windows.WSAEADDRINUSE)))
	assert.True(t, addressInUse(wrap(windows.WSAEACCES)), "held exclusively")
	assert.True(t, noDescriptors(wrap(windows.WSAEMFILE)))
	assert.True(t, noSuchAddress(wrap(windows.WSAEADDRNOTAVAIL)))
	assert.False(t, addressInUse(wrap(windows.WSAEINVAL)))
	assert.False(t, noDescriptors(wrap(windows.WSAEINVAL)))
	assert.False(t, noSuchAddress(wrap(windows.WSAEINVAL)))
}
