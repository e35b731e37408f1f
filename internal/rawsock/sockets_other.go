//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// errNoList says so: only Linux's /proc/self/fd was tried.
var errNoList = fmt.Errorf("%s: the process's sockets are not listed here: %w", runtime.GOOS, errors.ErrUnsupported)

// Sockets needs a list of the process's descriptors.
func Sockets() ([]Socket, error) { return nil, errNoList }

// SocketsTo needs one, too.
func SocketsTo(net.Addr) (map[string]uint64, error) { return nil, errNoList }

// SocketsAt needs it, too.
func SocketsAt(net.Addr) (map[string]uint64, error) { return nil, errNoList }

// Inodes needs one as well.
func Inodes() (map[uint64]bool, error) { return nil, errNoList }

// HasSocket knows nothing here.
func HasSocket(uint64) bool { return false }
