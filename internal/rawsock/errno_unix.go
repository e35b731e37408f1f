//go:build unix

package rawsock

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// faults follow the ERRORS sections of connect(2), accept(2), send(2), bind(2), tcp(7) and
// unix(7). EWOULDBLOCK is EAGAIN here, and ENOTSUP is EOPNOTSUPP on some systems, so each is
// listed once.
var faults = map[syscall.Errno]Fault{
	0: NoFault,

	syscall.ECONNREFUSED: Refused,

	syscall.ECONNRESET:   ResetByPeer,
	syscall.ECONNABORTED: ResetByPeer,
	syscall.EPIPE:        ResetByPeer, // the write after the one that met the RST

	syscall.ETIMEDOUT: KernelTimeout,

	syscall.EHOSTUNREACH: Unreachable,
	syscall.ENETUNREACH:  Unreachable,
	syscall.EHOSTDOWN:    Unreachable,
	syscall.ENETDOWN:     Unreachable,

	syscall.EMFILE:        Exhausted,
	syscall.ENFILE:        Exhausted,
	syscall.ENOBUFS:       Exhausted,
	syscall.ENOMEM:        Exhausted,
	syscall.EADDRINUSE:    Exhausted,
	syscall.EADDRNOTAVAIL: Exhausted, // connect: no local port is left
	syscall.EAGAIN:        Exhausted, // connect to a unix socket whose backlog is full

	syscall.EINVAL:          Invalid,
	syscall.EACCES:          Invalid,
	syscall.EPERM:           Invalid,
	syscall.ENOENT:          Invalid, // a unix socket's file
	syscall.ENOTDIR:         Invalid,
	syscall.ELOOP:           Invalid,
	syscall.ENAMETOOLONG:    Invalid,
	syscall.EAFNOSUPPORT:    Invalid,
	syscall.EPFNOSUPPORT:    Invalid,
	syscall.EPROTOTYPE:      Invalid,
	syscall.EPROTONOSUPPORT: Invalid,
	syscall.ESOCKTNOSUPPORT: Invalid,
	syscall.EOPNOTSUPP:      Invalid,
	syscall.ENOPROTOOPT:     Invalid,
	syscall.ENOTSOCK:        Invalid,
	syscall.EBADF:           Invalid,
	syscall.EFAULT:          Invalid,
	syscall.EDESTADDRREQ:    Invalid,
	syscall.EMSGSIZE:        Invalid,
}

// FaultOf returns what an errno means.
func FaultOf(e syscall.Errno) Fault {
	if f, ok := faults[e]; ok {
		return f
	}
	return UnknownFault
}

// ErrnoName returns the errno's name, such as "ECONNREFUSED", and "" if it has none.
func ErrnoName(e syscall.Errno) string { return unix.ErrnoName(e) }

func addressInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

func noDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func lacksOption(err error) bool { return errors.Is(err, syscall.ENOPROTOOPT) }

func noSuchAddress(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// connectCall is how package net names the call in its errors; see [ConnectError].
const connectCall = "connect"

var connectErrnos = map[Fault]syscall.Errno{
	Refused: syscall.ECONNREFUSED, Unreachable: syscall.ENETUNREACH, KernelTimeout: syscall.ETIMEDOUT,
}
