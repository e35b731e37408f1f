package sockettest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/network"
)

// A Watch finds leaks as [NoLeaks] and [NoLeakedSockets] do, where there is no test to fail or
// another grace is wanted. [WatchLeaks] and [WatchSockets] begin one. Find may be called from any
// goroutine; Close ends the watch once Find has returned.
type Watch struct {
	label     string
	outer     *Watch          // the one that the goroutine belonged to before
	goroutine string          // that began it
	bubble    string          // in which that was (testing/synctest); empty outside of any
	before    context.Context // with the labels that this goroutine had
	sockets   openSockets     // those of the process when a WatchSockets began; nil for a WatchLeaks

	mu       sync.Mutex
	ignored  []string
	running  map[*sight]bool
	suspects []suspect
	handed   map[string][]string // labels of watches inside it that closed without a look, and what each ignored
	judged   bool                // Find has looked
	held     bool                // the finalizers, on its behalf
	lost     bool                // the label was taken off
	unlisted error               // of a fixture that has ended; see [sight.unlisted]
	over     bool
}

// WatchLeaks begins a watch for goroutines and connections. It finds the goroutines that the
// calling goroutine starts from now on, directly or not, and the connections that the code under
// test leaves open to fixtures that are begun with [Start] or given to Find. ignore names
// functions, as for [NoLeaks]. Until Close the process's finalizers wait, so that the garbage
// collector closes nothing that was leaked.
//
//	w := sockettest.WatchLeaks()
//	defer w.Close()
//	...
//	if l := w.Find(2*time.Second, ep); !l.Empty() {
//		log.Fatal(l)
//	}
func WatchLeaks(ignore ...string) *Watch {
	w := newWatch("WatchLeaks", ignore)
	w.holdFinalizers()
	return w
}

// WatchSockets begins a watch for sockets that the process opens from now on, whoever opens them:
// those of other tests count too. Until Close the process's finalizers wait, as for [WatchLeaks];
// but not if it begins in a bubble (testing/synctest), which would own the channel that they wait
// for: begin it outside, or a garbage collection may close a socket that was leaked. Where a
// process's sockets are not listed (systems other than Linux, or no /proc), the error wraps
// [errors.ErrUnsupported].
func WatchSockets() (*Watch, error) {
	w := &Watch{bubble: ownBubble()}
	recentFixtures.want(1)
	w.holdFinalizers()
	var err error
	if w.sockets, err = socketsNow(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Find returns what is left behind. It waits up to grace for what is about to end; with 0 or less
// it looks once. also names fixtures that the watch does not know: those begun without [Start], or
// before the watch.
//
// Call Find on the goroutine that began the watch, or after that one has ended. Otherwise that
// goroutine counts as left behind. In a bubble (testing/synctest) Find works only for a watch that
// began there: what runs outside gets no time during a grace in virtual time.
func (w *Watch) Find(grace time.Duration, also ...Running) Leaks {
	if own := ownBubble(); own != "" && own != w.bubble {
		return Leaks{Unseen: "Find was called in a bubble (testing/synctest) in which the watch did not begin: what is outside has" +
			" no time to end there; want Find called after the bubble, or the watch begun in it"}
	}
	if w.sockets != nil {
		return w.sockets.left(grace)
	}
	defer w.standAside()()
	w.mu.Lock()
	w.judged = true
	w.mu.Unlock()
	sights := w.stillRunning()
	for _, e := range also {
		for _, f := range partsOf(e) {
			known := func(s *sight) bool { return s.f == f }
			if !argument.IsNil(f) && !slices.ContainsFunc(sights, known) {
				sights = append(sights, unseen(f))
			}
		}
	}
	found, conns := w.await(grace, sights)
	if len(found) > 0 {
		tellForever(found, leakedForever(w.labels()))
		tellCreators(found, w.goroutine)
	}
	l := w.leaks(found, conns)
	for _, s := range sights {
		l.unlisted(s.unlisted())
	}
	if !l.Empty() {
		l.grace = grace
	}
	return l
}

// await looks until nothing is left or the grace is over, and returns what is left then. While
// there is something of one kind it need not look for the other.
func (w *Watch) await(grace time.Duration, sights []*sight) (found []stuck, conns []suspect) {
	poll(grace, func() bool {
		if len(conns) > 0 {
			if conns = w.open(sights); len(conns) > 0 {
				return false
			}
		}
		if found = w.goroutines(len(sights) > 0); len(found) == 0 {
			conns = w.open(sights)
		}
		return len(found)+len(conns) == 0
	})
	switch {
	case len(found) > 0:
		conns = w.open(sights)
	case len(conns) > 0:
		found = w.goroutines(len(sights) > 0)
	}
	return found, conns
}

// Close ends the watch: the calling goroutine gets back the labels that it had, and finalizers run
// again. A second call does nothing.
func (w *Watch) Close() {
	w.mu.Lock()
	held, judged := w.held, w.judged
	w.held = false
	again := w.over
	w.over = true
	w.mu.Unlock()
	if held {
		finalizers.release()
	}
	if w.sockets != nil && !again {
		recentFixtures.want(-1)
	}
	if again || w.sockets != nil {
		return
	}
	if ownLabel() == w.label {
		pprof.SetGoroutineLabels(w.before)
	}
	watches.mu.Lock()
	defer watches.mu.Unlock()
	delete(watches.labels, w.label)
	for t, of := range watches.tests {
		if of == w {
			delete(watches.tests, t)
		}
	}
	watches.n.Add(-1)
	if !judged {
		w.handOver()
	}
}

// handOver leaves the labels that nobody has looked for to the next watch around this one.
func (w *Watch) handOver() {
	labels := w.labels()
	for o := w.outer; o != nil; o = o.outer {
		if o.inherits(labels) {
			return
		}
	}
}

func (w *Watch) inherits(labels map[string][]string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	maps.Copy(w.handed, labels)
	return true
}

// labels are those that the watch looks for, each with the functions to ignore.
func (w *Watch) labels() map[string][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string][]string{w.label: slices.Clone(w.ignored)}
	for label, ignored := range w.handed {
		all[label] = slices.Concat(ignored, w.ignored)
	}
	return all
}

// goroutines returns those of the watch, less those of the fixtures themselves if any run still.
func (w *Watch) goroutines(fixturesRun bool) []stuck {
	found := labelled(w.labels())
	if fixturesRun {
		found = slices.DeleteFunc(found, stuck.ofFixture)
	}
	return found
}

func (w *Watch) stillRunning() []*sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.running))
}

// sightsOf returns how the watches see an endpoint that runs, be it a half of a name server.
func sightsOf(e *fixtures.Endpoint) (of []*sight) {
	watches.mu.Lock()
	defer watches.mu.Unlock()
	for _, w := range watches.labels {
		for _, s := range w.stillRunning() {
			if s.endpoint() == e {
				of = append(of, s)
			}
		}
	}
	return of
}

// open returns the suspects whose sockets are open now, and the connections of fixtures that run
// still, each once.
func (w *Watch) open(running []*sight) []suspect {
	w.mu.Lock()
	noted := slices.Clone(w.suspects)
	w.mu.Unlock()
	var left []suspect
	now := map[network.Stack]*openTable{} // one for each look, not for each suspect
	for _, s := range noted {
		if t := s.socket.stack; t != nil {
			if now[t] == nil {
				now[t] = openNow(t)
			}
			o := now[t].numbers[s.socket.number]
			switch {
			case o.Number != 0:
				s.socket.state = o.State
			case now[t].err == nil:
				continue
			}
		}
		left = append(left, s)
	}
	for _, s := range running {
		left = append(left, s.suspects()...)
	}
	seen := map[any]bool{}
	return slices.DeleteFunc(left, func(s suspect) bool {
		key := s.key()
		again := seen[key]
		seen[key] = true
		return again || s.dials()
	})
}

func (w *Watch) leaks(found []stuck, conns []suspect) Leaks {
	var l Leaks
	for _, g := range found {
		l.Goroutines = append(l.Goroutines, strings.Join(g.short(), "\n"))
		l.number += g.count
	}
	for i, c := range conns {
		text := c.describe()
		if i < storiesShown {
			text += c.story()
		}
		l.Conns = append(l.Conns, text)
		if i == 0 {
			l.tested = c.tested()
		} else if l.tested != c.tested() {
			l.tested = ""
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.unlisted(w.unlisted)
	if w.lost {
		l.Unseen = "the goroutine's profiler labels were replaced meanwhile (runtime/pprof: Do, SetGoroutineLabels), so that" +
			" goroutines started since are not known; want that done in a goroutine of its own, or with the context of an Expect"
	}
	return l
}

// labelKey is the profiler label by which the goroutines of a test are known.
const labelKey = "sockettest.NoLeaks"

// watches are the watches that are not over, and the fixtures that nobody watches.
var watches = struct {
	n       atomic.Int32 // of those in labels: without any, nobody need look
	mu      sync.Mutex
	labels  map[string]*Watch
	tests   map[testing.TB]*Watch // by the test that asked, if a map can have it as a key
	started map[any]int           // by test; see testKey
}{labels: map[string]*Watch{}, tests: map[testing.TB]*Watch{}, started: map[any]int{}}

var serial atomic.Int64

// newWatch labels the calling goroutine, beside the labels that it has.
func newWatch(name string, ignore []string) *Watch {
	w := &Watch{label: fmt.Sprintf("%s#%d", name, serial.Add(1)), ignored: ignore, running: map[*sight]bool{}, handed: map[string][]string{},
		goroutine: goroutineID(), bubble: ownBubble(), before: withOwnLabels(context.Background())}
	outer := ownLabel()
	watches.mu.Lock()
	defer watches.mu.Unlock()
	w.outer = watches.labels[outer]
	watches.labels[w.label] = w
	watches.n.Add(1)
	w.adopt()
	return w
}

// adopt makes the calling goroutine, and those that it starts from now on, belong to the watch.
func (w *Watch) adopt() {
	own := withOwnLabels(context.Background())
	pprof.SetGoroutineLabels(pprof.WithLabels(own, pprof.Labels(labelKey, w.label)))
}

// holdFinalizers lasts until Close. In a bubble it does nothing: connections there are simnet's,
// which have none.
func (w *Watch) holdFinalizers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.held && !w.over && !virtual() {
		w.held = true
		finalizers.hold()
	}
}

// standAside takes the label off the calling goroutine, which is no leak, until the function that
// it returns is called. If it is gone already, and should be there, what was started since cannot
// be told.
func (w *Watch) standAside() func() {
	own := ownLabel()
	if own != w.label {
		if w.goroutine == goroutineID() && !w.covers(own) {
			w.mu.Lock()
			w.lost = true
			w.mu.Unlock()
		}
		return func() {}
	}
	labels := withOwnLabels(context.Background())
	pprof.SetGoroutineLabels(w.before)
	return func() { pprof.SetGoroutineLabels(labels) }
}

// covers reports whether the label is that of a watch which began inside this one.
func (w *Watch) covers(label string) bool {
	watches.mu.Lock()
	defer watches.mu.Unlock()
	inner := watches.labels[label]
	return inner != nil && inner.within(w)
}

func (w *Watch) within(outer *Watch) bool {
	for ; w != nil; w = w.outer {
		if w == outer {
			return true
		}
	}
	return false
}

// watchOf returns the watch that what t starts now counts for: that of the calling goroutine,
// whoever's t it is; or else t's own. It makes the goroutine belong to it, where each part of a
// test has one of its own, as in Ginkgo.
func watchOf(t testing.TB) *Watch {
	if watches.n.Load() == 0 {
		return nil
	}
	label := ownLabel()
	watches.mu.Lock()
	defer watches.mu.Unlock()
	w, own := watches.labels[label], (*Watch)(nil)
	if reflect.ValueOf(t).Comparable() {
		own = watches.tests[t]
	}
	switch {
	case own != nil && !w.within(own):
		return own // the goroutine is somebody else's, who works for this test
	case w == nil:
		if w = namesake(t); w != nil {
			w.adopt()
		}
	}
	return w
}

// namesake returns the one watch that a test of the same name and kind has asked for. Of package
// testing's own tests each has one T; other frameworks make a new TB for each call.
func namesake(t testing.TB) *Watch {
	if standard(t) {
		return nil
	}
	var found *Watch
	for of, w := range watches.tests {
		if reflect.TypeOf(of) == reflect.TypeOf(t) && of.Name() == t.Name() {
			if found != nil {
				return nil
			}
			found = w
		}
	}
	return found
}

func standard(t testing.TB) bool {
	switch t.(type) {
	case *testing.T, *testing.B, *testing.F:
		return true
	}
	return false
}

// testKey tells tests apart: by their T or, where there is a new one for each call, by kind, name
// and goroutine.
func testKey(t testing.TB) any {
	if standard(t) {
		return t
	}
	return [3]string{fmt.Sprintf("%T", t), t.Name(), goroutineID()}
}

// goroutineID names the calling goroutine: "goroutine 9".
func goroutineID() string {
	id, _, _ := strings.Cut(ownHeader(), " [")
	return id
}

// watchedContext is the context for what t runs now: it has the goroutine's labels, if they say
// whose it is.
func watchedContext(t testing.TB) context.Context {
	if watchOf(t) == nil {
		return liveContext(t)
	}
	return withOwnLabels(liveContext(t))
}

// liveContext is the test's own context; in a cleanup, before which that is cancelled, one that is
// not.
func liveContext(t testing.TB) context.Context {
	if ctx := t.Context(); ctx.Err() == nil {
		return ctx
	}
	return context.WithoutCancel(t.Context())
}
