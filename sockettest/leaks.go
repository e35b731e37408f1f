package sockettest

import (
	"context"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/patience"
)

// settle is how long what a test started may take to end once the test is over. A dialer that hung in a black hole needs
// one retransmission of its SYN, about a second, to learn that it is gone. Tests without leaks do not wait.
const settle = 2 * time.Second

// labelKey is the profiler label by which the goroutines of a test are known.
const labelKey = "sockettest.NoLeaks"

// A watch is a test whose leaks are looked for.
type watch struct {
	label   string
	ignored []string

	mu    sync.Mutex
	conns []suspect
}

// A suspect is a connection that the code under test had not ended when its endpoint was closed.
type suspect struct {
	text  string
	inode uint64 // of the other side's socket in this process; 0 if that cannot be told here
	table socketTable
}

var (
	watches sync.Map // testing.TB to *watch
	serial  atomic.Int64
)

// NoLeaks fails the test if it leaves behind what it started: goroutines, or connections to its fixtures that the code
// under test never closed: as a client of an Endpoint, or as the server of an Attack. Call it first in the test, so that it
// looks last. It is safe in parallel tests: goroutines are told apart by a profiler label that they inherit from the test's
// goroutine, so a neighbour's are never blamed.
//
// It stands aside if the test has failed already. It may miss a leak: goroutines started by a timer's function carry no
// label, nor do those that were started from elsewhere on the test's behalf, or change their labels; one that waits for a
// fixture ends when that is closed, before it looks; a connection that the fixture has not accepted is not known; and a
// client on a unix socket is found where the kernel shows who it is (Linux, sock_diag(7)). ignore names functions: a goroutine with
// one of them on its stack is not reported. From Go 1.27 on it says of a goroutine that it is blocked for ever, if nothing
// is left that could wake it.
//
// A failure reads:
//
//	leak: 1 goroutine and 1 connection left behind
//	  goroutine  net.(*conn).Read  net.go:196
//	  conn       #1 127.0.0.1:33724 -> 127.0.0.1:42357, opened at +1ms, 0 B in, 0 B out, never closed by the other side (ESTABLISHED, 0 B unread)
func NoLeaks(t testing.TB, ignore ...string) {
	if isNil(t) {
		_ = errNilTB("NoLeaks")
		return
	}
	t.Helper()
	if slices.Contains(ignore, "") {
		t.Fatalf("bad argument: sockettest.NoLeaks: a function to ignore is empty; want its name, such as \"net/http.(*persistConn).readLoop\"")
	}
	w := &watch{label: fmt.Sprintf("%s#%d", t.Name(), serial.Add(1)), ignored: ignore}
	if _, again := watches.LoadOrStore(t, w); again {
		return
	}
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(labelKey, w.label)))
	t.Cleanup(func() {
		t.Helper()
		watches.Delete(t)
		pprof.SetGoroutineLabels(context.Background()) // this goroutine is no leak
		if t.Failed() || t.Skipped() {
			return
		}
		if l := w.verdict(); !l.empty() {
			t.Errorf("%s", l)
		}
	})
}

// watched returns the watch of a test that has called NoLeaks.
func watched(t testing.TB) *watch {
	w, ok := watches.Load(t)
	if !ok {
		return nil
	}
	return w.(*watch)
}

// inspect notes, before a fixture closes, which of its connections the other side has not ended. Those may still be
// closed by a cleanup that has yet to run, so where the system tells which sockets the process has open, the verdict
// asks again.
func (w *watch) inspect(f connected) {
	open := openConns(f.Conns())
	if len(open) == 0 {
		return
	}
	table := tableOf(f)
	_, attack := f.(*hostile.Attack) // the server under test has the other end, at its own address
	found, err := otherEnds(open, table, attack)
	switch {
	case err != nil && attack:
		return // a server need not end what its client is about to
	case err != nil:
		open = awaitEnds(open)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range open {
		inode, here := found[c]
		if here || err != nil {
			w.conns = append(w.conns, suspect{c.String() + otherEnd(c), inode, table})
		}
	}
}

// otherEnd adds how the socket stands that was not closed, where that can be told: bytes left unread say what was
// forgotten.
func otherEnd(c *fixtures.Conn) string {
	info, err := c.Info()
	if err != nil || info.Other == nil {
		return ""
	}
	return fmt.Sprintf(" (%s, %d B unread)", info.Other.State, info.Other.Unread)
}

// openConns returns the connections that the other side has not ended.
func openConns(conns []*fixtures.Conn) []*fixtures.Conn {
	return slices.DeleteFunc(conns, func(c *fixtures.Conn) bool { end, _ := c.End(); return end != fixtures.Open })
}

// awaitEnds gives the other sides time to end, where nothing can be asked later, and returns those that have not.
func awaitEnds(open []*fixtures.Conn) []*fixtures.Conn {
	poll(func() bool {
		open = openConns(open)
		return len(open) == 0
	})
	return open
}

// poll asks, ever more slowly, until the answer is yes or the time to settle is over. Nothing tells of a goroutine's end.
// What counts is the time that was waited, after each part of which all that could run has had a turn: on a machine that
// stalls nobody who is about to end is called a leak.
func poll(done func() bool) {
	pause := 100 * time.Microsecond
	for left := settle; !done() && left > 0; left -= pause {
		<-time.NewTimer(pause).C
		patience.QueueUp()
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// A leakage is what outlives a test.
type leakage struct {
	goroutines []stuck
	conns      []string
	sockets    []string
}

func (l leakage) empty() bool { return len(l.goroutines)+len(l.conns)+len(l.sockets) == 0 }

// verdict waits for what is about to end, and returns the rest.
func (w *watch) verdict() leakage {
	var l leakage
	poll(func() bool {
		l = leakage{goroutines: labelled(w.label, w.ignored), conns: w.open()}
		return l.empty()
	})
	if len(l.goroutines) > 0 {
		tellForever(l.goroutines, leakedForever(w.label))
	}
	return l
}

// open returns the suspects whose sockets this process still has.
func (w *watch) open() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var left []string
	for _, s := range w.conns {
		if s.inode == 0 || s.table.HasSocket(s.inode) {
			left = append(left, s.text)
		}
	}
	return left
}

// String writes the report of a leak.
func (l leakage) String() string {
	var b strings.Builder
	b.WriteString(l.headline())
	for _, g := range l.goroutines {
		for i, f := range g.short() {
			fmt.Fprintf(&b, "\n  %-10s %s", label("goroutine", i), f)
		}
	}
	for _, c := range l.conns {
		fmt.Fprintf(&b, "\n  %-10s %s", "conn", c)
	}
	for _, s := range l.sockets {
		fmt.Fprintf(&b, "\n  %-10s %s", "socket", s)
	}
	return b.String()
}

func (l leakage) headline() string {
	if len(l.sockets) > 0 {
		return fmt.Sprintf("leak: %s left open", plural(len(l.sockets), "socket"))
	}
	var parts []string
	total := 0
	for _, g := range l.goroutines {
		total += g.count
	}
	if total > 0 {
		parts = append(parts, plural(total, "goroutine"))
	}
	if n := len(l.conns); n > 0 {
		parts = append(parts, plural(n, "connection"))
	}
	return fmt.Sprintf("leak: %s left behind", strings.Join(parts, " and "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
