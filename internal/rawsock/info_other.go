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
// tried them here yet.
func connInfo(*net.TCPConn) (network.ConnInfo, error) {
	return network.ConnInfo{}, fmt.Errorf("%s: the state of a connection is read from Linux's TCP_INFO only: %w",
		runtime.GOOS, errors.ErrUnsupported)
}
