package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// PartitionMechanism names what partitions a connection, for reports about a platform.
const PartitionMechanism = "IP_MINTTL or IPV6_MINHOPCOUNT on the connection"

// partition makes the kernel drop every segment that arrives for c, as Drop does with SYNs: there is no privilege, no
// process and no copy in between, and nothing is lost but time.
func partition(c *net.TCPConn, v6 bool) error { return partitionIf(canDrop(v6), c, v6) }

func partitionIf(works bool, c *net.TCPConn, v6 bool) error {
	return control(c, func(fd int) error {
		if !works {
			return fmt.Errorf("linux: IP_MINTTL has no effect on this kernel (or its default TTL is 255): %w", errors.ErrUnsupported)
		}
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		switch {
		case err != nil:
			return os.NewSyscallError("getsockopt", err)
		case protocol == unix.IPPROTO_MPTCP:
			return fmt.Errorf("linux: the connection is MPTCP, which takes no IP_MINTTL; use net.Dialer.SetMultipathTCP(false): %w",
				errors.ErrUnsupported)
		}
		return setMinTTL(fd, v6, blackTTL)
	})
}

func healed(c *net.TCPConn, v6 bool) error {
	return control(c, func(fd int) error { return setMinTTL(fd, v6, 0) })
}
