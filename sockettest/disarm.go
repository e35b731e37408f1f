package sockettest

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
)

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
		limit = 0 // a neighbour's refusal would be taken for ours, which had come at once
	}
	for limit > 0 && !f.Fired() {
		limit -= pauseForSigns(s.Kernel)
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
