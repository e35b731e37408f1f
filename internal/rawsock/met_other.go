//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"example.com/go-sockettest/network"
)

// heard could be had from TCP_CONNECTION_INFO (macOS) and TCP_INFO (FreeBSD); nobody has tried them
// here yet.
func heard(int, bool) (int64, error) {
	return 0, fmt.Errorf("%s: the bytes that came are read from Linux's TCP_INFO only: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Queued knows nothing here.
func Queued(syscall.Conn) int { return 0 }

// Visits knows nothing here.
func (p *packetPort) Visits() network.Visits { return network.Visits{} }

// Held knows nothing here.
func Held() (map[uint16]bool, error) { return nil, errNoList }
