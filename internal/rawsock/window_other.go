//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"runtime"
)

// WindowMechanism is none.
const WindowMechanism = ""

// shrinkWindow is a matter of TCP_MAXSEG and SO_RCVBUF, which macOS and the BSDs have too; nobody has tried it there.
func shrinkWindow(uintptr) error {
	return fmt.Errorf("%s: cannot make a small receive window: nobody has tried it here: %w", runtime.GOOS, errors.ErrUnsupported)
}
