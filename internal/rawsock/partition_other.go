//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// PartitionMechanism is none.
const PartitionMechanism = ""

// partition would be a stall at best: no other system is known to let a socket drop what arrives for it, but FreeBSD,
// where nobody has tried it on a connection.
func partition(*net.TCPConn, bool) error {
	return fmt.Errorf("%s: a connection cannot be partitioned here, for want of Linux's IP_MINTTL: %w",
		runtime.GOOS, errors.ErrUnsupported)
}

// healed has nothing to do.
func healed(*net.TCPConn, bool) error { return nil }
