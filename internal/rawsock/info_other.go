//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"

	"example.com/go-sockettest/network"
)

// connInfo could be had from TCP_CONNECTION_INFO (macOS), TCP_INFO (FreeBSD) and SIO_TCP_INFO (Windows); nobody has
// tried them here yet. That the connection is closed is told everywhere.
func connInfo(c *net.TCPConn) (network.ConnInfo, error) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(uintptr) {})
	}
	if err != nil {
		return network.ConnInfo{}, err
	}
	return network.ConnInfo{}, fmt.Errorf("%s: the state of a connection is read from Linux's TCP_INFO only: %w",
		runtime.GOOS, errors.ErrUnsupported)
}
