//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"runtime"
)

// Capture is not implemented outside Linux.
func Capture(func(Packet)) (stop func(), err error) {
	return nil, fmt.Errorf("capture on %s: not implemented: %w", runtime.GOOS, errors.ErrUnsupported)
}
