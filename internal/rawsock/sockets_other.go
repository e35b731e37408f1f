//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"runtime"
)

// errNoList says so: only Linux's /proc/self/fd was tried.
var errNoList = fmt.Errorf("%s: the process's sockets are not listed here: %w", runtime.GOOS, errors.ErrUnsupported)

// Sockets needs a list of the process's descriptors.
func Sockets() ([]Socket, error) { return nil, errNoList }
