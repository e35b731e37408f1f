// Package faketb records what an assertion says, so that tests can see it fail, and sockettest.Try
// can return it.
package faketb

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A TB is a testing.TB that records. Methods that it does not override are those of the real test.
type TB struct {
	testing.TB // the real test: Name, TempDir and the like

	End time.Time // what Deadline returns; zero for none

	name     string
	mu       sync.Mutex
	errors   []string
	logs     []string
	attrs    []string
	skipped  string
	fatal    bool
	cleanups []func()
	ctx      context.Context
	cancel   context.CancelFunc
}

// Run runs f as a test with a recording TB: its cleanups run when f returns or calls FailNow or
// Skip.
func Run(t testing.TB, f func(tb *TB)) *TB {
	return run(t.Context(), &TB{TB: t, name: t.Name()}, f)
}

// Alone is Run where there is no real test, as in an Example.
func Alone(name string, f func(tb *TB)) *TB { return run(context.Background(), &TB{name: name}, f) }

// Here is Run on the calling goroutine. f must not call FailNow or Skip.
func Here(t testing.TB, f func(tb *TB)) *TB {
	tb := &TB{TB: t, name: t.Name()}
	tb.ctx, tb.cancel = context.WithCancel(t.Context())
	f(tb)
	tb.cleanup()
	return tb
}

func run(ctx context.Context, tb *TB, f func(tb *TB)) *TB {
	tb.ctx, tb.cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer tb.cleanup()
		f(tb)
	}()
	<-done
	return tb
}

// cleanup runs the cleanups, last first, each even if one before it has called FailNow.
func (tb *TB) cleanup() {
	tb.cancel()
	for {
		tb.mu.Lock()
		n := len(tb.cleanups)
		if n == 0 {
			tb.mu.Unlock()
			return
		}
		f := tb.cleanups[n-1]
		tb.cleanups = tb.cleanups[:n-1]
		tb.mu.Unlock()
		defer tb.cleanup()
		f()
	}
}

// Name returns the test's name.
func (tb *TB) Name() string { return tb.name }

// Helper does nothing.
func (tb *TB) Helper() {}

// Cleanup registers f.
func (tb *TB) Cleanup(f func()) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.cleanups = append(tb.cleanups, f)
}

// Context is cancelled before the cleanups run.
func (tb *TB) Context() context.Context { return tb.ctx }

// Deadline returns End.
func (tb *TB) Deadline() (time.Time, bool) { return tb.End, !tb.End.IsZero() }

// Errorf records a failure.
func (tb *TB) Errorf(format string, args ...any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.errors = append(tb.errors, fmt.Sprintf(format, args...))
}

// Attr records an attribute of the test.
func (tb *TB) Attr(key, value string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.attrs = append(tb.attrs, key+" "+value)
}

// Attrs returns what Attr was given, a line for each call.
func (tb *TB) Attrs() string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return strings.Join(tb.attrs, "\n")
}

// Logf records a line.
func (tb *TB) Logf(format string, args ...any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.logs = append(tb.logs, fmt.Sprintf(format, args...))
}

// Logs returns what Logf was given, a line for each call.
func (tb *TB) Logs() string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return strings.Join(tb.logs, "\n")
}

// Fatalf records a failure and ends the goroutine.
func (tb *TB) Fatalf(format string, args ...any) {
	tb.Errorf(format, args...)
	tb.FailNow()
}

// FailNow ends the goroutine.
func (tb *TB) FailNow() {
	tb.mu.Lock()
	tb.fatal = true
	tb.mu.Unlock()
	runtime.Goexit()
}

// Skipf records the reason and ends the goroutine.
func (tb *TB) Skipf(format string, args ...any) {
	tb.mu.Lock()
	tb.skipped = fmt.Sprintf(format, args...)
	tb.mu.Unlock()
	runtime.Goexit()
}

// Failed reports whether a failure was recorded.
func (tb *TB) Failed() bool {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return len(tb.errors) > 0 || tb.fatal
}

// Skipped reports whether Skipf was called.
func (tb *TB) Skipped() bool { return tb.Reason() != "" }

// Reason returns what Skipf was given.
func (tb *TB) Reason() string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.skipped
}

// Died reports whether FailNow or Fatalf was called.
func (tb *TB) Died() bool {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.fatal
}

// Text returns all failures.
func (tb *TB) Text() string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return strings.Join(tb.errors, "\n")
}
