package sockettest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/faketb"
)

// Main runs the tests of a package and, if they passed, checks that they left nothing behind: no
// goroutines, by goleak with these options, and on Linux no sockets that the process did not have
// before. It waits up to 2 s for what is about to end. Then Main exits. Call it from TestMain:
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
// With the option [OnlyLoopbackAlways] it fails a package that dials beyond loopback.
//
// In a disarmed run (SOCKETTEST_DISARM=1) Main looks for no leaks. It prints the fixtures that kept
// their fault and the tests that were not run.
func Main(m goleak.TestingM, options ...goleak.Option) {
	if argument.IsNil(m) {
		fmt.Fprintln(os.Stderr, "sockettest.Main: m is nil; want the *testing.M of TestMain")
		os.Exit(2)
	}
	unguarded := guardPackage(options)
	before, err := socketsNow()
	code := unguarded(m.Run())
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

// Armed skips the test in a disarmed run (SOCKETTEST_DISARM=1), and [Main] lists it with reason. It
// is for a test that ends the same way without its fault, or that checks by assertions of its own.
//
//	sockettest.Armed(t, "the client gives up by itself")
func Armed(t testing.TB, reason string) {
	if argument.IsNil(t) {
		_ = errNilTB("Armed")
		return
	}
	t.Helper()
	if reason == "" {
		t.Fatalf("bad argument: sockettest.Armed: reason is empty; want why the test is of no use without its fault")
	}
	if disarm.On() {
		exempt.add(t.Name() + ": " + reason)
		t.Skipf("disarmed: not run: %s", reason)
	}
}

// A misbehaving fixture is one that runs and says what has become of its fault.
type misbehaving interface {
	Fired() bool    // it has come
	Disarmed() bool // it cannot come
}

// needsFault reports whether the want is one of failure, or has a lower bound: one that a fixture
// that behaves should not meet. What is not to reach the fixture needs nothing of it.
func (w Window) needsFault() bool {
	return !w.missed && (w.target != nil || w.outcome != Accepted || w.min > 0)
}

// restsOnContact reports whether contact is judged in a disarmed run: where a want of success is
// met without it, as by a client that goes on to a second address, what follows rests on the fault.
func (w Window) restsOnContact(ep Running) bool {
	f, ok := ep.(misbehaving)
	return ok && f.Disarmed() && !w.missed && !w.needsFault()
}

// proved judges a want in a disarmed run, and reports whether it has; err says how the want was
// missed. A want that needs the fault and is met without it fails the test. One that is not met is
// as it should be: what follows in the test rests on it, so that the test ends here, as skipped.
// Off the test's own goroutine it goes on.
//
// In any other run it notes whose success needs the fault to have come by the end of the test.
func proved(t testing.TB, ep Running, w Window, err error) bool {
	f, ok := ep.(misbehaving)
	switch {
	case !ok:
	case !disarm.On():
		provesNothing := !w.missed && !w.needsFault() && !f.Fired()
		switch {
		case err != nil || !isKey(ep):
		case w.stale:
			t.Helper()
			t.Errorf("%s: Unfired says nothing of it, since before the operation the fault had fired, or the fixture has none\n  fixture  %v\n"+
				"  remedy   a fixture of its own for the operation, which has a fault", w, ep)
		case w.unfired:
			unfired.Store(ep, w)
		case provesNothing:
			unfired.LoadOrStore(ep, w) // an Unfired from before goes on
		}
	case !f.Disarmed(): // listed by Start
	case err == nil && w.needsFault():
		t.Helper()
		t.Errorf("%s: met without the fault\n  fixture  %v\n  remedy   a want that only the fault can meet, or sockettest.Armed with the reason", w, ep)
		return true
	case err != nil:
		t.Helper()
		endDisarmed(t, fmt.Sprintf("disarmed: without the fault it is not %s, as it should be", w))
		return true
	}
	return false
}

// isStale reports whether a want of Unfired comes too late.
func (w Window) isStale(ep Running) bool {
	f, ok := ep.(misbehaving)
	return ok && w.unfired && !disarm.On() && f.Fired()
}

// endDisarmed ends the test as skipped. Off the test's own goroutine it only logs why. On that of a
// test inside, which it cannot end and whose assertions may rest on the fault, it fails t.
func endDisarmed(t testing.TB, why string) {
	t.Helper()
	switch runs := testOnStack(); {
	case !isPackageTestings(t) || runs == fmt.Sprintf("%p", t):
		t.Skipf("%s", why)
	case runs == "":
		t.Logf("%s", why)
	default:
		t.Errorf("bad argument: t is %s's, on the goroutine of another test, which a disarmed run cannot end by it;"+
			" want that test's own t, for Start too, or sockettest.Armed with the reason\n  %s", t.Name(), why)
	}
}

// unfired are the fixtures against which a success was met before their fault had come, with what
// was wanted.
var unfired sync.Map // Running to Want

// checkFired fails the test if the success of a client was met against a fault that never came, of
// one of these. Who asks first has the answer.
func checkFired(t testing.TB, of ...Running) {
	for _, ep := range of {
		v, ok := unfired.LoadAndDelete(ep)
		if !ok || t.Failed() {
			continue
		}
		switch want, fired := v.(Window), firesSoon(ep, v.(Window)); {
		case want.unfired && fired:
			t.Helper()
			t.Errorf("the fault fired, and the want was that it does not: %s\n  fixture  %v", want, ep)
		case !want.unfired && !fired:
			t.Helper()
			t.Errorf("the fault never fired: %s is no proof\n  fixture  %v%s\n  remedy   a client that gets as far as the fault, or Window.Unfired",
				want, ep, missed(ep))
		}
	}
}

// missed has a line for each rule that has not acted.
func missed(ep Running) (lines string) {
	if f, ok := ep.(interface{ Missed() []fixtures.Rule }); ok {
		for _, r := range f.Missed() {
			lines += fmt.Sprintf("\n  missed   %v", r)
		}
	}
	return lines
}

// firesSoon reports whether the fault has come, once the fixture has had its turn at what the
// client has left: a connection that waits to be accepted, or bytes that wait to be read.
func firesSoon(ep Running, w Window) bool {
	f, limit := ep.(misbehaving), signPatience
	if w.unfired {
		limit = quietPatience
	}
	s := ep.WatchContact()()
	if s.Hidden {
		return f.Fired() // a neighbour's refusal would be taken for ours, which had come at once
	}
	for h := hopeFor(limit, s.Kernel); !f.Fired() && h.lasts(); {
	}
	return f.Fired()
}

// A register is what a disarmed run has to say at its end.
type register struct {
	mu    sync.Mutex
	lines map[string]bool
}

var (
	exempt   register // tests that are not run disarmed
	leftAsIs register // fixtures for which nothing stands in
)

func (r *register) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines == nil {
		r.lines = map[string]bool{}
	}
	r.lines[line] = true
}

func (r *register) text(head string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(r.lines)) {
		fmt.Fprintf(&b, "disarmed: %s: %s\n", head, line)
	}
	return b.String()
}

// summary lists what a disarmed run says nothing about.
func summary() string {
	return leftAsIs.text("left as it is, since its Plan has no Instead") + exempt.text("not run")
}

// noteArmed lists a fixture that is not disarmed in a disarmed run.
func noteArmed(t testing.TB, ep Running) {
	if f, ok := ep.(misbehaving); ok && disarm.On() && !f.Disarmed() {
		t.Helper()
		what, _, _ := strings.Cut(ep.String(), " on ")
		leftAsIs.add(t.Name() + ": " + what)
		t.Logf("disarmed: %s is left as it is: its Plan has no Instead", what)
	}
}

// isPackageTestings reports whether a test's goroutine can be told by its stack. Of others, such as
// Ginkgo's, it cannot.
func isPackageTestings(t testing.TB) bool {
	_, ok := t.(*testing.T)
	return ok
}

// testOnStack returns the address of the test whose goroutine calls, as the stack shows it; empty
// if it is no test's.
func testOnStack() string {
	const runner = "\ntesting.tRunner("
	stack := string(debug.Stack())
	_, args, _ := strings.Cut(stack[max(0, strings.LastIndex(stack, runner)):], runner)
	own, _, _ := strings.Cut(args, ",")
	return strings.TrimSuffix(own, "?") // where the compiler does not vouch for it
}
