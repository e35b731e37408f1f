package rawsock

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"example.com/go-sockettest/network"
)

// ConnectError returns the error of the system call that connects, as package net gets it where f happens: Refused,
// Unreachable or KernelTimeout. For another f, or where there is no such call, it wraps [errors.ErrUnsupported].
func ConnectError(f Fault) error {
	if e, ok := connectErrnos[f]; ok {
		return os.NewSyscallError(connectCall, e)
	}
	return fmt.Errorf("%s: no errno of connect is known for fault %d: %w", runtime.GOOS, f, errors.ErrUnsupported)
}

// OwnAnswer is what a connect meets at a socket that is bound and not listening; see [network.Own]. None but Linux's was
// seen.
func OwnAnswer() network.Answer {
	switch runtime.GOOS {
	case "darwin", "ios", "openbsd", "netbsd":
		return network.Drop
	}
	return network.Refuse
}
