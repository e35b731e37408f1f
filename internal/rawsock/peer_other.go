//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// errNoPeer says so rather than guess. Other kernels have TCP_CONNECTION_INFO (macOS), TCP_INFO (FreeBSD) and
// SIO_TCP_INFO (Windows), which nobody has tried here yet.
var errNoPeer = fmt.Errorf("%s: what the other end of a connection did is read from Linux's TCP_INFO only: %w",
	runtime.GOOS, errors.ErrUnsupported)

// Peer cannot tell here.
func Peer(syscall.Conn) (PeerState, error) { return PeerUnknown, errNoPeer }

// AwaitPeerEnd cannot tell here, and does not wait.
func AwaitPeerEnd(syscall.Conn) (PeerState, error) { return PeerUnknown, errNoPeer }
