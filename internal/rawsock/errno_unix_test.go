//go:build unix

package rawsock

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestErrnos(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		errno syscall.Errno
		name  string
		fault Fault
	}{
		{0, "", NoFault},
		{syscall.ECONNREFUSED, "ECONNREFUSED", Refused},
		{syscall.ECONNRESET, "ECONNRESET", ResetByPeer},
		{syscall.ECONNABORTED, "ECONNABORTED", ResetByPeer},
		{syscall.EPIPE, "EPIPE", ResetByPeer},
		{syscall.ETIMEDOUT, "ETIMEDOUT", KernelTimeout},
		{syscall.EHOSTUNREACH, "EHOSTUNREACH", Unreachable},
		{syscall.ENETUNREACH, "ENETUNREACH", Unreachable},
		{syscall.EMFILE, "EMFILE", Exhausted},
		{syscall.ENOBUFS, "ENOBUFS", Exhausted},
		{syscall.EADDRINUSE, "EADDRINUSE", Exhausted},
		{syscall.EADDRNOTAVAIL, "EADDRNOTAVAIL", Exhausted},
		{syscall.EAGAIN, "EAGAIN", Exhausted},
		{syscall.EINVAL, "EINVAL", Invalid},
		{syscall.EACCES, "EACCES", Invalid},
		{syscall.ENOENT, "ENOENT", Invalid},
		{syscall.EMSGSIZE, "EMSGSIZE", Invalid},
		{syscall.ENOTCONN, "ENOTCONN", UnknownFault}, // means too many things
		{syscall.EINTR, "EINTR", UnknownFault},
		{syscall.EIO, "EIO", UnknownFault},
		{1 << 20, "", UnknownFault},
	} {
		t.Run(tt.errno.Error(), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.fault, FaultOf(tt.errno))
			assert.Equal(t, tt.name, ErrnoName(tt.errno))
		})
	}
}

func TestEveryErrnoInTheTableHasAName(t *testing.T) {
	t.Parallel()
	for errno := range faults {
		if errno != 0 {
			assert.NotEmpty(t, ErrnoName(errno), "%d", errno)
		}
	}
}

// What bind explains is found below what package net wraps around it.
func TestErrnosAreFoundInAChain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		is   func(error) bool
		yes  []syscall.Errno
	}{
		{"address in use", addressInUse, []syscall.Errno{syscall.EADDRINUSE}},
		{"no descriptors", noDescriptors, []syscall.Errno{syscall.EMFILE, syscall.ENFILE}},
		{"no such address", noSuchAddress, []syscall.Errno{syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, errno := range tt.yes {
				assert.True(t, tt.is(&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)}), errno)
			}
			assert.False(t, tt.is(syscall.EACCES))
			assert.False(t, tt.is(errors.New("made up")))
			assert.False(t, tt.is(nil))
		})
	}
}
