// Package leftover looks for what a piece of code leaves behind in the process, for tests that are
// not parallel.
package leftover

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

// None notes the process's goroutines and descriptors, and returns what fails the test if there are
// others.
func None(t testing.TB) (check func()) {
	t.Helper()
	goroutines, descriptors := goleak.IgnoreCurrent(), Descriptors(t)
	return func() {
		t.Helper()
		assert.NoError(t, goleak.Find(goroutines), "goroutines")
		assert.Equal(t, descriptors, Descriptors(t), "descriptors")
	}
}

// Descriptors returns how many descriptors the process has open, and skips the test where they are
// not listed.
func Descriptors(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors are not listed here: ", err)
	}
	return len(fds)
}
