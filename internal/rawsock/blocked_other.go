//go:build !linux

package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
)

func watchPeer(_ context.Context, c *net.TCPConn, _, _ func()) error {
	if raw, err := c.SyscallConn(); err == nil {
		if err := raw.Control(func(uintptr) {}); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: what the other end of a connection has buffered is not shown: %w", runtime.GOOS, errors.ErrUnsupported)
}
