package sockettest

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/internal/shared"
	"example.com/go-sockettest/internal/warm"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// Bubble runs f in a bubble of virtual time, as [synctest.Test] does, and works around two
// pitfalls.
//
// First, package net's resolver is used once outside the bubble. If its first use were inside, its
// next use outside would end the process (go.dev/issue/80903). simnet.New does the same.
//
// Second, the clock of a bubble stands still while one of its goroutines waits for something
// outside it: a mutex, a real socket, a channel made outside. go test says so only after ten
// minutes. After 5 s of real time Bubble prints to standard error who waits where.
//
// If f skips the test, Bubble ends it as skipped, and does not return.
//
// Fixtures in f need a network that goes by the bubble's clock: sockettest.On(simnet.New(t)).
func Bubble(t *testing.T, f func(t *testing.T)) {
	if t == nil {
		_ = errNilTB("Bubble")
		return
	}
	t.Helper()
	if f == nil {
		t.Fatalf("bad argument: sockettest.Bubble: f is nil; want the function to run in the bubble")
	}
	warm.Resolver()
	w := watchdog{patience: bubblePatience, report: func(s string) {
		fmt.Fprintf(os.Stderr, "sockettest.Bubble: %s: %s\n", t.Name(), s)
	}}
	skipped := false
	w.guard(func(inside func()) {
		synctest.Test(t, func(t *testing.T) {
			defer func() { skipped = t.Skipped() }()
			inside()
			f(t)
		})
	})
	if skipped {
		t.SkipNow()
	}
}

// Kernel is the kernel's loopback network, on which fixtures run unless [On] says otherwise. It
// binds and dials loopback addresses only.
var Kernel network.Stack = rawsock.Loopback{}

// EachNetwork runs f as two subtests: "kernel" on [Kernel], and "simnet" on a new simulated network
// in a [Bubble]. Real sockets show that the simulation is right, and virtual time makes long limits
// cheap.
//
//	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
//		sockettest.NoLeaks(t)
//		ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
//		c := client{Addr: ep.Addr(), Dial: nw.DialContext, Timeout: 100 * time.Millisecond}
//		sockettest.Expect(t, ep, sockettest.TimedOut.After(c.Timeout), c.Ping)
//	})
//
// If f skips both, EachNetwork ends t as skipped, and does not return. The subtests run one after
// the other. A bubble does not allow t.Parallel inside: call it in the test that calls EachNetwork.
// Where the two must differ, compare nw with Kernel.
func EachNetwork(t *testing.T, f func(t *testing.T, nw network.Stack)) {
	if t == nil {
		_ = errNilTB("EachNetwork")
		return
	}
	t.Helper()
	if f == nil {
		t.Fatalf("bad argument: sockettest.EachNetwork: f is nil; want the function to run on each network")
	}
	var kernel, sim bool // skipped
	t.Run("kernel", func(t *testing.T) {
		defer func() { kernel = t.Skipped() }()
		f(t, Kernel)
	})
	t.Run("simnet", func(t *testing.T) {
		defer func() { sim = t.Skipped() }()
		Bubble(t, func(t *testing.T) { f(t, simnet.New(t)) })
	})
	if kernel && sim {
		t.SkipNow()
	}
}

// bubblePatience is how long a goroutine may hold up its bubble before the watchdog says so, in
// real time.
const bubblePatience = 5 * time.Second

// A watchdog looks from outside who holds up a bubble.
type watchdog struct {
	patience time.Duration
	report   func(string)
}

// guard watches until run returns. run calls inside from within the bubble.
func (w watchdog) guard(run func(inside func())) {
	var bubble atomic.Pointer[string]
	over := make(chan struct{}) // closed when run has returned
	var wg sync.WaitGroup
	wg.Go(func() { w.watch(&bubble, over) })
	defer wg.Wait()
	defer close(over)
	run(func() {
		own := ownBubble()
		bubble.Store(&own)
	})
}

// watch looks now and then. A goroutine that is found in the same wait for as long as patience
// lasts is reported, once.
func (w watchdog) watch(bubble *atomic.Pointer[string], over <-chan struct{}) {
	tick := time.NewTicker(w.patience / 5)
	defer tick.Stop()
	since, told := map[string]time.Time{}, map[string]bool{}
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		own := bubble.Load()
		if own == nil {
			continue
		}
		dump, now := everyStack.recent(w.patience / 5)
		still := map[string]time.Time{}
		for _, g := range holdingUp(*own, dump) {
			first, seen := since[g]
			if !seen {
				first = now
			}
			still[g] = first
			if now.Sub(first) >= w.patience && !told[g] {
				told[g] = true
				w.report(fmt.Sprintf("for %s a goroutine has kept the clock from going on, since what it waits for is not of the"+
					" bubble (testing/synctest):\n%s", digits(w.patience), g))
			}
		}
		since = still
	}
}

// holdingUp returns the goroutines of a bubble whose wait is not durable, but for those that wait
// for a look of ours, which takes long on a busy machine.
func holdingUp(bubble, dump string) []string {
	var list []string
	for g := range strings.SplitSeq(dump, "\n\n") {
		header, _, _ := strings.Cut(g, "\n")
		if bubbleOf(header) != bubble || strings.Contains(header, "(durable)") {
			continue
		}
		_, state, _ := strings.Cut(header, "[")
		state, _, _ = strings.Cut(state, ",")
		if state == "running" || state == "runnable" || strings.Contains(g, looksPath) {
			continue
		}
		list = append(list, withoutMinutes(g))
	}
	return list
}

// looksPath begins the names of the methods by which a look is shared.
var looksPath = reflect.TypeFor[shared.Look[string]]().PkgPath() + ".(*Look["

// bubbleOf reads "goroutine 9 [running, synctest bubble 1]:". With GODEBUG=tracebacklabels=1 the
// labels follow the number.
func bubbleOf(header string) string {
	_, number, ok := strings.Cut(header, "synctest bubble ")
	if !ok {
		return ""
	}
	return number[:len(number)-len(strings.TrimLeft(number, "0123456789"))]
}

// withoutMinutes takes out of the header how long the goroutine has waited, which changes.
func withoutMinutes(g string) string {
	header, rest, _ := strings.Cut(g, "\n")
	parts := strings.Split(header, ", ")
	parts = slices.DeleteFunc(parts, func(s string) bool { return strings.HasSuffix(s, " minutes") })
	return strings.Join(parts, ", ") + "\n" + rest
}

// ownBubble names the bubble that the calling goroutine is in; empty outside of any.
func ownBubble() string { return bubbleOf(ownHeader()) }

func ownHeader() string {
	b := make([]byte, 128)
	header, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), "\n")
	return header
}
