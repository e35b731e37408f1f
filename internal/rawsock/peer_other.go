//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"example.com/go-sockettest/network"
)

// errNoPeer says so rather than guess. Other kernels have TCP_CONNECTION_INFO (macOS), TCP_INFO (FreeBSD) and
// SIO_TCP_INFO (Windows), which nobody has tried here yet.
var errNoPeer = fmt.Errorf("%s: what the other end of a connection did is read from Linux's TCP_INFO only: %w",
	runtime.GOOS, errors.ErrUnsupported)

// peer cannot tell here.
func peer(syscall.Conn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

// finArrived cannot tell here.
func finArrived(syscall.Conn, uint64) (bool, error) { return false, errNoPeer }

// awaitPeerEnd cannot tell here, and does not wait.
func awaitPeerEnd(syscall.Conn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }
