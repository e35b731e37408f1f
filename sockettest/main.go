package sockettest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/faketb"
)

// Main runs the tests of a package and, if they passed, checks that they left nothing behind: no
// goroutines, by goleak with these options, and on Linux no sockets that the process did not have
// before. What is about to end has 2 s for it. Then Main exits. Call it from TestMain:
//
//	func TestMain(m *testing.M) { sockettest.Main(m) }
//
// To run code before or after the tests, pass a type of your own whose Run method calls m.Run. Open
// the sockets that the package keeps on purpose before you call Main.
//
// Main prints which fixtures this platform could not provide, with the reason and the tests that
// were skipped. go test shows that if a test fails, with -v, and for the package of the working
// directory.
//
// In a disarmed run (SOCKETTEST_DISARM=1) Main checks nothing. It prints the fixtures that kept
// their fault and the tests that were not run.
func Main(m goleak.TestingM, options ...goleak.Option) {
	if argument.IsNil(m) {
		fmt.Fprintln(os.Stderr, "sockettest.Main: m is nil; want the *testing.M of TestMain")
		os.Exit(2)
	}
	before, err := socketsNow()
	code := m.Run()
	fmt.Fprint(os.Stderr, skips.text())
	if disarm.On() { // a test that was ended early may have left something behind
		fmt.Fprint(os.Stderr, summary())
		os.Exit(code)
	}
	if code == 0 {
		code = verify(options)
	}
	if code == 0 {
		code = compare(before, err)
	}
	os.Exit(code)
}

// Try runs f as a test outside go test, in a plain main function or another test framework, and
// returns what it reported as an error: nil if it passed. The error of a test that skips itself
// wraps [errors.ErrUnsupported], but in a disarmed run (SOCKETTEST_DISARM=1) it is nil.
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
	case tb.Skipped() && disarm.On(): // its want was not met, as it should be
		return nil
	case tb.Skipped():
		return fmt.Errorf("skipped: %s: %w", tb.Reason(), errors.ErrUnsupported)
	}
	return nil
}

// compare turns sockets left open into a failing exit code, where the system lists them.
func compare(before openSockets, err error) int {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "sockettest.Main: the process's sockets could not be listed: %v\n", err)
		return 1
	}
	if l := before.left(settle); !l.Empty() {
		fmt.Fprintf(os.Stderr, "%s\n  They outlive the package's tests; find the test with sockettest.NoLeakedSockets\n", l)
		return 1
	}
	return 0
}

// verify turns goroutines left behind into a failing exit code. goleak waits less than half a
// second, a dialer that hung in a black hole needs a second to learn that it is gone: so it is
// asked again.
func verify(options []goleak.Option) int {
	var err error
	for end := time.Now().Add(settle); ; {
		if err = goleak.Find(options...); err == nil || !time.Now().Before(end) {
			break
		}
	}
	if err == nil {
		return 0
	}
	if p := pprof.Lookup(foreverProfile); p != nil && p.WriteTo(io.Discard, 1) == nil {
		// From now on the runtime writes "(leaked)" behind the state of those that nothing can wake
		// any more.
		if again := goleak.Find(options...); again != nil {
			err = again
		}
	}
	fmt.Fprintf(os.Stderr, "leak: goroutines outlive the package's tests; find the test with sockettest.NoLeaks\n%v\n", err)
	return 1
}

// skips are the fixtures that this platform could not provide.
var skips skipped

// A skipped lists the reasons, each with the tests that it ended.
type skipped struct {
	mu    sync.Mutex
	tests map[string][]string
}

func (s *skipped) add(t testing.TB, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tests == nil {
		s.tests = map[string][]string{}
	}
	s.tests[reason.Error()] = append(s.tests[reason.Error()], t.Name())
}

// text has a line for each reason, which names the fixture, and up to three tests.
func (s *skipped) text() string {
	const most = 3
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, reason := range slices.Sorted(maps.Keys(s.tests)) {
		tests, more := slices.Sorted(slices.Values(s.tests[reason])), ""
		if n := len(tests) - most; n > 0 {
			tests, more = tests[:most], fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(&b, "skipped: %s: %s%s\n", reason, strings.Join(tests, ", "), more)
	}
	return b.String()
}

// outside is a testing.TB without a test behind it.
type outside struct{ *faketb.TB }

func (t outside) Error(args ...any) { t.Errorf("%s", line(args)) }

func (t outside) Fatal(args ...any) { t.Fatalf("%s", line(args)) }

func (t outside) Fail() { t.Errorf("failed") }

func (t outside) Log(args ...any) { t.Logf("%s", line(args)) }

func (t outside) Skip(args ...any) { t.Skipf("%s", line(args)) }

func (t outside) SkipNow() { t.Skipf("skipped") }

func (t outside) Output() io.Writer { return os.Stderr }

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
