//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// refusePackets would need a port that is taken and takes nothing; the way of Linux was not tried here.
func refusePackets(c *net.UDPConn) error {
	if err := servePackets(c); err != nil {
		return err
	}
	return fmt.Errorf("%s: a UDP port that is held and refuses was tried on Linux only: %w", runtime.GOOS, errors.ErrUnsupported)
}

// servePackets has nothing to do, on a socket that is open.
func servePackets(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(uintptr) {})
}
