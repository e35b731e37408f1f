package sockettest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"example.com/go-sockettest/internal/faketb"
)

// Try runs f as a test outside go test, and returns what it reported as an error: nil if it passed.
// A test that skips itself is an error that wraps [errors.ErrUnsupported]. It is for a plain main
// function and for other test frameworks:
//
//	err := sockettest.Try(func(t testing.TB) {
//		ep := sockettest.Start(t, fixtures.BlackHole{})
//		sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), client.Ping)
//	})
//
// Cleanups have run when Try returns. f runs in a goroutine of its own; FailNow ends it.
func Try(f func(t testing.TB)) error {
	if f == nil {
		return errors.New("sockettest.Try: f is nil; want the function to run")
	}
	tb := faketb.Alone("Try", func(t *faketb.TB) { f(outside{t}) })
	switch {
	case tb.Failed():
		return errors.New(tb.Text())
	case tb.Skipped():
		return fmt.Errorf("skipped: %s: %w", tb.Reason(), errors.ErrUnsupported)
	}
	return nil
}

// outside is a testing.TB without a test behind it.
type outside struct{ *faketb.TB }

func (t outside) Error(args ...any)   { t.Errorf("%s", line(args)) }
func (t outside) Fatal(args ...any)   { t.Fatalf("%s", line(args)) }
func (t outside) Fail()               { t.Errorf("failed") }
func (t outside) Log(args ...any)     { t.Logf("%s", line(args)) }
func (t outside) Skip(args ...any)    { t.Skipf("%s", line(args)) }
func (t outside) SkipNow()            { t.Skipf("skipped") }
func (t outside) Output() io.Writer   { return os.Stderr }
func (t outside) Attr(string, string) {}
func (t outside) ArtifactDir() string { return t.TempDir() }

// line formats as t.Log does.
func line(args []any) string { return strings.TrimSuffix(fmt.Sprintln(args...), "\n") }

func (t outside) TempDir() string {
	dir, err := os.MkdirTemp("", "sockettest")
	if err != nil {
		t.Fatalf("TempDir: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t outside) Setenv(key, value string) {
	old, had := os.LookupEnv(key)
	if err := os.Setenv(key, value); err != nil {
		t.Fatalf("Setenv: %v", err)
	}
	t.Cleanup(func() {
		if had {
			_ = os.Setenv(key, old)
		} else {
			_ = os.Unsetenv(key)
		}
	})
}

func (t outside) Chdir(dir string) {
	old, err := os.Getwd()
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		t.Fatalf("Chdir: %v", err)
	}
	t.Cleanup(func() { _ = os.Chdir(old) })
}
