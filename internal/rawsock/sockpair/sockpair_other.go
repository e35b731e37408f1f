//go:build !unix

package sockpair

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

var errUnsupported = fmt.Errorf("%s has no socket pairs: %w", runtime.GOOS, errors.ErrUnsupported)

// New fails with an error that wraps [errors.ErrUnsupported].
func New() (near, far int, err error) { return -1, -1, errUnsupported }

// Read fails as New does.
func Read(int, []byte) (int, error) { return 0, errUnsupported }

// Peek fails as New does.
func Peek(int, []byte) (int, error) { return 0, errUnsupported }

// Write fails as New does.
func Write(int, []byte) (int, error) { return 0, errUnsupported }

// CloseWrite does nothing.
func CloseWrite(int) {}

// Unconnected fails as New does.
func Unconnected(string) (fd int, err error) { return -1, errUnsupported }

// UserTimeout returns 0.
func UserTimeout(int) time.Duration { return 0 }

// SetUserTimeout fails as New does.
func SetUserTimeout(int, time.Duration) error { return errUnsupported }

// Close does nothing.
func Close(int) {}
