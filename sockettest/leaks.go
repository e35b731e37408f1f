package sockettest

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/patience"
)

// NoLeaks fails the test if it leaves behind goroutines, or connections to its fixtures that the
// code under test has not closed. Call it first in the test, so that it looks last: after a [Start]
// by the same test it is fatal. NoLeaks waits up to 2 s for what is about to end. If the test has
// failed or was skipped, NoLeaks checks nothing, and leaves it to the NoLeaks of a test around it.
// A second call adds to what is ignored.
//
// A connection counts until the code under test closes its socket, even if the fixture has ended
// it or has never accepted it. That code is a client of an Endpoint, or the server of an Attack.
//
// ignore names functions: a goroutine with one of them on its stack is not reported. From Go 1.27
// on the report says which goroutines are blocked forever, since nothing is left that could wake
// them.
//
// # What counts for a test
//
// Goroutines count by a profiler label that they inherit from the test's goroutine. So those of
// subtests, bubbles, suites and set-up functions count, and those of parallel tests do not. A
// fixture counts, with its connections, for the test on whose goroutine it was started and for the
// tests around that one, whichever t Start was given.
//
// A pool that parallel tests share, such as an [http.Transport] with MaxConnsPerHost, may start on
// a goroutine of one test what another waits for: that counts for the first. Give each test a
// client of its own.
//
// Start a fixture that several tests share before they call NoLeaks, as in a suite's SetupSuite:
// then it counts for none of them. To check it there, call NoLeaks in SetupSuite. In Ginkgo each
// node has a goroutine of its own, which belongs to the spec from its first Start or Expect on.
//
// # Finalizers
//
// From the first Start on the kernel's network until the end of the test, the process's finalizers
// wait: otherwise the garbage collector would close what was leaked, and hide it. That Start costs
// a garbage collection. A test that waits for a finalizer (runtime.SetFinalizer) hangs. Cleanups
// (runtime.AddCleanup) still run. If the test uses goleak too, let it look after NoLeaks, by an
// earlier t.Cleanup, or ignore "example.com/go-sockettest/sockettest.holdFinalizers".
//
// # What it misses
//
//   - A goroutine that a timer (time.AfterFunc) or a goroutine from outside the test started: it
//     has no label, or another.
//   - A goroutine started after its starter's labels were replaced, by [pprof.Do] with a context
//     that lacks the label. The context of an [Expect] has it. If the test's own goroutine loses
//     the label, NoLeaks fails the test.
//   - A goroutine, and its connection, that ends when its fixture is closed, before NoLeaks looks:
//     [Watch.Find] finds it while the fixture runs.
//   - A connection that ends with a context: [Expect] cancels the operation's when that has
//     returned, and package net/http then closes the connection of a response whose body was not
//     closed. Give the request context.WithoutCancel(ctx).
//   - A connection that the fixture has not accepted, if the test calls the fixture's Close itself:
//     by the time of the look, its address may be somebody else's.
//   - A client in another process.
//   - UDP sockets, and connections to anything but fixtures: use [NoLeakedSockets].
//   - A connection of an Attack on a unix socket that the attack has ended itself: the other end
//     has no address.
//   - Where a process's sockets are not listed (systems other than Linux, or no /proc): a
//     connection that either side has ended, or that the fixture has not accepted, and all
//     connections of a server.
//
// It reports nothing that was closed in time, except where sockets are not listed: there a client
// counts that is open when its fixture closes, even if a later cleanup closes it.
//
// A failure reads:
//
//	leak: 1 connection left behind by the client
//	  want       all closed by the end of the test, or 2s later
//	  conn       #1 from 127.0.0.1:45242, ESTABLISHED still on the client's side, which has read all that came
//	             fixture Scripted{...} on 127.0.0.1:50093, started at client_test.go:41
//	               +0.3ms  accepted  #1 from the client at 127.0.0.1:45242
//	               +0.4ms  received  #1 "GET k\n" (6 B)
//	               +0.4ms  sent      #1 "NONE\n" (5 B)   <- the last that happened on #1
//	  rule       ...
func NoLeaks(t testing.TB, ignore ...string) {
	if argument.IsNil(t) {
		_ = errNilTB("NoLeaks")
		return
	}
	t.Helper()
	noLeaks(t, settle, ignore)
}

// noLeaks is NoLeaks with another time for what is about to end.
func noLeaks(t testing.TB, grace time.Duration, ignore []string) {
	t.Helper()
	if slices.Contains(ignore, "") {
		t.Fatalf("bad argument: sockettest.NoLeaks: a function to ignore is empty; want its name, such as \"net/http.(*persistConn).readLoop\"")
	}
	if again(t, ignore) {
		return
	}
	watches.mu.Lock()
	n := watches.started[testKey(t)]
	watches.mu.Unlock()
	if n > 0 {
		t.Fatalf("bad argument: sockettest.NoLeaks: the test has started %s before; want NoLeaks called first, since it sees"+
			" only what is started later, and looks after all else has been cleaned up", plural(n, "fixture"))
	}
	w := newWatch(t.Name(), ignore)
	if reflect.ValueOf(t).Comparable() {
		watches.mu.Lock()
		watches.tests[t] = w
		watches.mu.Unlock()
	}
	failIfFound(t, w, grace)
}

// settle is how long what a test started may take to end once the test is over. A dialer that hung
// in a black hole needs one retransmission of its SYN, about a second, to learn that it is gone.
// Tests without leaks do not wait.
const settle = 2 * time.Second

// failIfFound looks at the end of the test.
func failIfFound(t testing.TB, w *Watch, grace time.Duration) {
	t.Cleanup(func() {
		t.Helper()
		defer w.Close()
		if t.Failed() || t.Skipped() {
			return
		}
		if l := w.Find(grace); !l.Empty() {
			t.Errorf("%s", l)
		}
	})
}

// Leaks is what was left behind, one text for each. The zero value is nothing.
type Leaks struct {
	Goroutines []string // one for each stack: where they wait and, if several share it, how many
	Conns      []string // connections to fixtures
	Sockets    []string // of a [WatchSockets]
	Unseen     string   // why some leaks could not be seen; empty if all could

	number int    // of goroutines
	tested string // what left the connections open: "client" or "server"; empty if both did
	grace  time.Duration
}

// Empty reports whether nothing was left behind, and all could be seen.
func (l Leaks) Empty() bool {
	return len(l.Goroutines)+len(l.Conns)+len(l.Sockets) == 0 && l.Unseen == ""
}

// unlisted notes why connections that a fixture had not accepted could not be seen.
func (l *Leaks) unlisted(err error) {
	if err != nil {
		l.Unseen = "which connections a fixture had not accepted: the sockets could not be listed when it started, or when Expect" +
			" closed it; want descriptors left for that (ulimit -n): " + err.Error()
	}
}

// String returns the report that NoLeaks prints, or "" if nothing was left behind.
func (l Leaks) String() string {
	if l.Empty() {
		return ""
	}
	var b strings.Builder
	b.WriteString(l.headline())
	if len(l.Conns) > 0 && l.grace > 0 {
		fmt.Fprintf(&b, "\n  %-10s all closed by the end of the test, or %v later", "want", l.grace)
	}
	for _, part := range []struct {
		name string
		of   []string
	}{{"goroutine", l.Goroutines}, {"conn", l.Conns}, {"socket", l.Sockets}} {
		for i, text := range part.of {
			if i == leaksShown {
				fmt.Fprintf(&b, "\n  %-10s ... %d more", "", len(part.of)-leaksShown)
				break
			}
			for n, line := range strings.Split(text, "\n") {
				name := part.name
				if n > 0 {
					name = ""
				}
				fmt.Fprintf(&b, "\n  %-10s %s", name, line)
			}
		}
	}
	if len(l.Conns) > 0 {
		fmt.Fprintf(&b, "\n  %-10s %s", "rule", ruleLeak)
	}
	if l.Unseen != "" {
		fmt.Fprintf(&b, "\n  %-10s %s", "unseen", l.Unseen)
	}
	return b.String()
}

// ruleLeak is for connections.
const ruleLeak = "a connection must be closed, or pooled, on every path of return, and the pool be emptied by Close: look at the path taken" +
	" after the last that happened"

// leaksShown is how many of a kind a report shows.
const leaksShown = 20

func (l Leaks) headline() string {
	if len(l.Sockets) > 0 {
		return fmt.Sprintf("leak: %s left open", plural(len(l.Sockets), "socket"))
	}
	var parts []string
	if l.number > 0 {
		parts = append(parts, plural(l.number, "goroutine"))
	}
	by := ""
	if n := len(l.Conns); n > 0 {
		parts = append(parts, plural(n, "connection"))
		if l.tested != "" {
			by = " by the " + l.tested
		}
	}
	if len(parts) == 0 {
		return "leak: not all could be seen"
	}
	return fmt.Sprintf("leak: %s left behind%s", strings.Join(parts, " and "), by)
}

// again adds the functions to ignore to the watch that the test has already.
func again(t testing.TB, ignore []string) bool {
	if !reflect.ValueOf(t).Comparable() {
		return false
	}
	watches.mu.Lock()
	w := watches.tests[t]
	watches.mu.Unlock()
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ignored = append(w.ignored, ignore...)
	return true
}

// poll asks, ever more slowly, until the answer is yes or the time to settle is over. Nothing tells
// of a goroutine's end. What counts is the time that was waited, after each part of which all that
// could run has had a turn: on a machine that stalls nobody who is about to end is called a leak.
// Long waits end at instants that all share: one look at the process is enough for all then.
func poll(grace time.Duration, done func() bool) {
	const longest = 200 * time.Millisecond
	pause := 400 * time.Microsecond
	for left := grace; !done() && left > 0; pause = min(2*pause, longest) {
		wait := pause
		if wait == longest {
			wait -= time.Duration(time.Now().UnixNano()) % longest
		}
		wait = min(wait, left)
		<-time.NewTimer(wait).C
		patience.QueueUp()
		left -= wait
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// finalizers is the gate before the process's finalizers.
var finalizers gate

const (
	// gateLimit is how long the gate waits for finalizers that run already.
	gateLimit = time.Second
	// gateLinger is how long the gate stays closed when nobody needs it any more: the next test
	// often does, and need not collect garbage. Leak checkers that look at goroutines, such as
	// goleak, wait longer before they complain.
	gateLinger = 50 * time.Millisecond
	// gateLong is how long it may stay closed like that from test to test.
	gateLong = 10 * time.Second
)

// A gate holds finalizers back. A connection that nobody closed, and nothing refers to, is closed
// by its finalizer (net, setAddr), and to its peer looks closed by its owner: whatever collects
// garbage would hide the leak. One goroutine runs all finalizers, one after the other, so one that
// waits holds them all. Cleanups (runtime.AddCleanup) go on.
type gate struct {
	mu      sync.Mutex // held while the gate closes: nobody goes on before it has
	holders int
	opens   chan struct{} // nil while the gate is open
	since   time.Time     // it is closed
	linger  *time.Timer
}

// hold returns when no finalizer will run any more, until all who called it have called release. If
// the gate was open it costs a garbage collection. It must not be called in a synctest bubble,
// which would own the channels.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holders++
	if g.opens != nil {
		return
	}
	g.opens, g.since = make(chan struct{}), time.Now()
	closed := make(chan struct{})
	waitInFinalizer(closed, g.opens)
	runtime.GC()
	limit := time.NewTimer(gateLimit)
	defer limit.Stop()
	select {
	case <-closed:
	case <-limit.C: // some other finalizer waits: that holds them as well
	}
}

// release lets finalizers run, soon after the last who holds them has called it; in a bubble, which
// would own the timer, at once.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holders--
	if virtual() || time.Since(g.since) >= gateLong {
		g.open()
		return
	}
	if g.linger == nil {
		g.linger = time.AfterFunc(gateLinger, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.open()
		})
	}
	g.linger.Reset(gateLinger)
}

// open opens the gate, unless somebody holds it or it is open. The caller holds mu.
func (g *gate) open() {
	if g.holders == 0 && g.opens != nil {
		close(g.opens)
		g.opens = nil
	}
}

// waitInFinalizer leaves an object that nothing refers to. The next collection runs its finalizer,
// which waits.
//
//go:noinline
func waitInFinalizer(closed, opens chan struct{}) {
	runtime.SetFinalizer(&struct{ self *byte }{}, func(any) { holdFinalizers(closed, opens) })
}

func holdFinalizers(closed, opens chan struct{}) {
	close(closed)
	<-opens
}
