package calltimeout

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/internal/argument"
)

// defaultTimeout is the limit of sockets that are made from now on, in nanoseconds; 0 is none.
var defaultTimeout atomic.Int64

// guard is an environment variable that is set and restored along with the default.
const guard = "SOCKETTEST_DEFAULT_TIMEOUT"

// DefaultTimeout returns the default that is in force; 0 is none.
func DefaultTimeout() time.Duration { return time.Duration(defaultTimeout.Load()) }

// SetDefaultTimeout bounds the calls on every socket that this package makes from now on without a
// timeout of its own, in every goroutine. Sockets that exist keep what they have. When the test
// ends, the default is again what it was.
//
// Like t.Setenv it changes the whole process, and so cannot be used in a parallel test or under
// one: that is fatal, as are durations of zero or less.
func SetDefaultTimeout(t testing.TB, d time.Duration) {
	if argument.IsNil(t) {
		fmt.Fprintln(os.Stderr, "calltimeout.SetDefaultTimeout: t is nil; want the test's own *testing.T; nothing was set")
		return
	}
	t.Helper()
	if err := positive("d", d); err != nil {
		t.Fatalf("bad argument: calltimeout.SetDefaultTimeout: %v", err)
	}
	if !argument.Exclusive(t, guard, d.String()) {
		t.Fatalf("bad argument: calltimeout.SetDefaultTimeout: the test is parallel, or under one that is; want one that is not," +
			" since the default holds for the whole process, or Dialer.Timeout")
	}
	old := defaultTimeout.Swap(int64(d))
	t.Cleanup(func() { defaultTimeout.Store(old) })
}
