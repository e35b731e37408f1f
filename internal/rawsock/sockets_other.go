//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// SocketsTo needs a list of the process's descriptors.
func SocketsTo(net.Addr) (map[string]uint64, error) { return nil, errNotListed() }

// SocketsAt needs it too.
func SocketsAt(net.Addr) (map[string]uint64, error) { return nil, errNotListed() }

func errNotListed() error {
	return fmt.Errorf("%s: the process's sockets are not listed here: %w", runtime.GOOS, errors.ErrUnsupported)
}

// HasSocket knows nothing here.
func HasSocket(uint64) bool { return false }
