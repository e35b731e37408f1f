package rawsock

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"example.com/go-sockettest/network"
)

// A Fault is what an errno means to the code that dialled, read or wrote, on any platform.
// [FaultOf] returns it, and [ErrnoName] the platform's own name.
//
// It errs towards [UnknownFault]: it does not guess at an errno that means different things in
// different calls (ENOTCONN, EINTR).
type Fault int

// The faults.
const (
	NoFault       Fault = iota // errno 0
	Refused                    // RST answered the SYN (RFC 9293, section 3.5.2)
	ResetByPeer                // the connection is gone: RST has arrived, or a write came after it
	KernelTimeout              // the kernel gave up retransmitting or probing; no deadline of Go's
	Unreachable                // no route, or an ICMP message said so
	Exhausted                  // no descriptor, port, buffer or place in a backlog is left
	Invalid                    // wrong parameters: an address, option, file or right that cannot do
	UnknownFault               // none of these, or more than one
)

// AddressInUse reports whether a bind failed because another socket has the address, on any
// platform.
func AddressInUse(err error) bool { return addressInUse(err) }

// NoDescriptors reports whether a call failed because the process or the system has no descriptors
// left.
func NoDescriptors(err error) bool { return noDescriptors(err) }

// ConnectError returns the error of the system call that connects, as package net gets it for f:
// Refused, Unreachable or KernelTimeout. For another f, or where there is no such call, it wraps
// [errors.ErrUnsupported].
func ConnectError(f Fault) error {
	if e, ok := connectErrnos[f]; ok {
		return os.NewSyscallError(connectCall, e)
	}
	return fmt.Errorf("%s: no errno of connect is known for fault %d: %w", runtime.GOOS, f, errors.ErrUnsupported)
}

// OwnAnswer is what a connect meets at a socket that is bound and does not listen; see
// [network.Own]. Linux's was observed; the others are from their kernels' sources.
func OwnAnswer() network.Answer {
	switch runtime.GOOS {
	case "darwin", "ios", "openbsd", "netbsd":
		return network.Drop
	}
	return network.Refuse
}

// AcceptCall returns the name of the system call that package net puts into the errors of Accept
// (internal/poll/sock_cloexec.go and its siblings).
func AcceptCall() string {
	switch runtime.GOOS {
	case "windows":
		return "acceptex"
	case "darwin", "ios", "aix", "js", "wasip1":
		return "accept"
	}
	return "accept4"
}
