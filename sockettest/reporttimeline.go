package sockettest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/story"
)

const (
	// keepSaved is how many events are saved at each end of one that is very long.
	keepSaved = 10_000
)

// timelineOf returns the events of a fixture with what passed between them, if it can tell.
func timelineOf(ep Running) []fixtures.Event {
	if e, ok := ep.(interface{ Timeline() []fixtures.Event }); ok {
		return e.Timeline()
	}
	return ep.Events()
}

// settleDown lets the fixture see what the operation did just before it returned: it hears of a FIN
// a moment later, and so does its script.
func settleDown(ep Running, r Result) {
	if r.Outcome == Blocked {
		return
	}
	if c, ok := ep.(connected); ok {
		conns := c.Conns()
		for _, c := range conns[max(0, len(conns)-story.Ends):] {
			c.PeerEnd() // asks the kernel
		}
	}
	for h := hopeFor(5*signTick, r.reach.seen.Kernel); !r.reach.settled && h.lasts(); {
	}
	for left := signPatience; left > 0 && midScript(timelineOf(ep)); {
		left -= pauseForSigns(r.reach.seen.Kernel)
	}
}

// midScript reports whether a script has still to hear that the other side has ended.
func midScript(events []fixtures.Event) bool {
	gone := map[story.Conn]bool{}
	for _, e := range events {
		switch e.Kind {
		case fixtures.PeerFIN, fixtures.PeerRST:
			gone[story.ConnOf(e)] = true
		}
	}
	return slices.ContainsFunc(events, func(e fixtures.Event) bool {
		return e.Kind == fixtures.Script && gone[story.ConnOf(e)] && strings.Contains(e.Note, " waits in ") && !strings.HasSuffix(e.Note, "Stall()")
	})
}

// timeline writes the fixture's events, timed from the call's start, with marks where the call
// starts and where it ends. The middle of a long one is left out.
func (f failure) timeline() []string {
	if len(f.events) == 0 {
		return nil
	}
	return f.teller().Lines(f.shown, f.marks())
}

// teller says how the lines are worded.
func (f failure) teller() story.Teller {
	return story.Teller{From: f.from, Tested: f.tested, Attack: f.result.conn > 0, Saved: f.savedAs()}
}

// marks says where the call starts and ends, and where a context has ended in between which the
// client was to obey. The last stands after all events.
func (f failure) marks() []story.Mark {
	all := []story.Mark{{Before: f.begun, At: f.from, Text: f.startMark(f.shown[:f.begun])}}
	if ended := f.from + f.result.ctxEnded; ended > f.from {
		at := f.begun
		for at < len(f.shown) && f.shown[at].At <= ended {
			at++
		}
		all = append(all, story.Mark{Before: at, At: ended, Text: "a context of the call's is done: cancelled, or its deadline has passed --"})
	}
	return append(all, story.Mark{Before: len(f.shown), At: sum(f.from, f.result.Elapsed), Text: f.endMark()})
}

// upToVerdict picks the events up to when the operation had ended, or was given up, and counts
// those from before its start. What the client had done by then may be seen a moment later; what
// the fixture does then is left out. There may be a million: whoever writes a report picks once.
func (f failure) upToVerdict() failure {
	if f.shown != nil {
		return f
	}
	events := make([]fixtures.Event, 0, len(f.events))
	over := sum(f.from, f.result.Elapsed)
	start := -1
	looked := f.lookedAt()
	gone := map[story.Conn]bool{} // connections that the client has ended: that the fixture follows says nothing
	for i, e := range f.events {
		if start < 0 && i >= looked && e.At >= f.from { // at that very time, what stands before the look was before
			start = len(events)
		}
		late := e.At > over
		switch {
		case f.result.conn > 0 && e.Conn > 0 && e.Conn != f.result.conn: // another connection of the attack
		case e.Kind == fixtures.Looked, e.Kind == fixtures.Stopped, e.Kind == fixtures.Ended && gone[story.ConnOf(e)]:
		case late && f.result.conn == 0 && e.Kind == fixtures.Ended:
		case late && e.At > over+time.Second:
		default:
			events = append(events, e)
			if e.Kind == fixtures.PeerFIN || e.Kind == fixtures.PeerRST {
				gone[story.ConnOf(e)] = true
			}
		}
	}
	if start < 0 {
		start = len(events)
	}
	f.shown, f.begun = events, start
	return f
}

// lookedAt finds where in the events the call began; -1 if that is not among them.
func (f failure) lookedAt() int {
	at := -1
	for i, e := range f.events {
		if e.Kind == fixtures.Looked && e.At <= f.from {
			at = i
		}
	}
	return at
}

// startMark says where the call starts, and which connections it may use that are open from before.
func (f failure) startMark(before []fixtures.Event) string {
	if f.result.conn > 0 {
		if f.tested == "client" {
			return fmt.Sprintf("from here the end of connection #%d is wanted --", f.result.conn)
		}
		return fmt.Sprintf("connection #%d is opened --", f.result.conn)
	}
	open, last := 0, story.Conn{}
	gone := map[story.Conn]bool{}
	for _, e := range slices.Backward(before) {
		switch {
		case e.Kind == fixtures.ConnAccepted && !gone[story.ConnOf(e)]:
			open, last = open+1, story.ConnOf(e)
		case e.Kind == fixtures.Ended, e.Kind == fixtures.SentRST, e.Kind == fixtures.PeerRST, e.Kind == fixtures.PeerFIN:
			gone[story.ConnOf(e)] = true
		}
	}
	text := "the call under test starts --"
	switch {
	case open == 1:
		text += fmt.Sprintf("  (%v is open from before)", last)
	case open > 1:
		text += fmt.Sprintf("  (%s are open from before)", plural(open, "connection"))
	}
	return text
}

// endMark says how the call ended.
func (f failure) endMark() string {
	r := f.result
	switch {
	case r.conn > 0 && r.busy.doing != "":
		return "the fixture has ended it --"
	case r.conn > 0 && r.Outcome == Blocked:
		return "it is still open: the test waits no longer --"
	case r.conn > 0:
		return "the " + f.tested + " has ended it --"
	case r.Outcome == Blocked:
		return "it has not returned: the test waits no longer --"
	case r.Err == nil:
		return "it returns without an error --"
	case exited(r.Err):
		return "it " + r.ending() + " --"
	}
	return "it returns the error above --"
}

// cutsTimeline reports whether the report does not show all events.
func (f failure) cutsTimeline() bool {
	return len(f.shown)+2 > 2*story.Ends
}

func (f failure) savedAs() string {
	if f.saved == "" {
		return "timeline.txt, with go test -artifacts"
	}
	return f.saved
}

// saveTimeline keeps the whole timeline where go test -artifacts leaves it, and says where that is,
// or why it could not.
func (f failure) saveTimeline(t testing.TB) string {
	dir, err := artifactDir(t)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "timeline.txt"), []byte(f.wholeTimeline()), 0o600)
	}
	if err != nil {
		return "timeline.txt could not be written: " + story.Printable(err.Error(), keepInner)
	}
	return "timeline.txt, with go test -artifacts"
}

// artifactDir is t.ArtifactDir, which ends the goroutine that calls it if it fails.
func artifactDir(t testing.TB) (dir string, err error) {
	err = errors.New("t.ArtifactDir has failed")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // other frameworks' Fatal
		d := t.ArtifactDir()
		dir, err = d, nil
	}()
	<-done
	return dir, err
}

// wholeTimeline has all events, of a very long timeline both ends.
func (f failure) wholeTimeline() string {
	var b strings.Builder
	for i, e := range f.events {
		switch {
		case i >= keepSaved && i < len(f.events)-keepSaved:
			if i == keepSaved {
				fmt.Fprintf(&b, "... %d more: the first and the last %d are kept ...\n", len(f.events)-2*keepSaved, keepSaved)
			}
		default:
			fmt.Fprintln(&b, e)
		}
	}
	return b.String()
}

const (
	// keepRows is how many operations of a test are remembered for its reports, and keepTests of how
	// many tests.
	keepRows, keepTests = 8, 32
)

// rows remembers how the operations of tests ended: what other rows of a table did tells one bug
// from another.
var rows history

// A history has the latest operations of the latest tests, by the name of the outermost test.
type history struct {
	mu    sync.Mutex
	tests [keepTests]testRows
	next  int // to be forgotten
}

type testRows struct {
	root string
	rows [keepRows]row
	n    int // in all
}

// A row is how one operation ended.
type row struct {
	name    string
	outcome Outcome
	phase   string
	elapsed time.Duration
	failed  bool
	over    bool // so is its test
}

// rootName is the name of the outermost test around the test of that name, which may be itself.
func rootName(name string) string {
	root, _, _ := strings.Cut(name, "/")
	return root
}

// note remembers how an operation of a test ended.
func (h *history) note(name string, r Result, failed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.of(name)
	if t == nil {
		t = &h.tests[h.next]
		h.next = (h.next + 1) % keepTests
		*t = testRows{root: rootName(name)}
	}
	t.rows[t.n%keepRows] = row{name: name, outcome: r.Outcome, phase: r.Phase, elapsed: r.Elapsed, failed: failed}
	t.n++
}

// find returns what is remembered of a test's outermost one; nil if nothing is. The caller holds
// mu.
func (h *history) find(name string) *testRows {
	root := rootName(name)
	if i := slices.IndexFunc(h.tests[:], func(t testRows) bool { return t.root == root }); i >= 0 {
		return &h.tests[i]
	}
	return nil
}

// of is find for a test that runs: what it did in an earlier run (go test -count) is forgotten.
func (h *history) of(name string) *testRows {
	t := h.find(name)
	if t != nil && slices.ContainsFunc(t.rows[:min(t.n, keepRows)], func(r row) bool { return r.over && r.name == name }) {
		t.n = 0
	}
	return t
}

// ended notes that a test is over. It may be called for each of the test's fixtures.
func (h *history) ended(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.find(name)
	if t == nil {
		return
	}
	for i := range t.rows[:min(t.n, keepRows)] {
		if r := &t.rows[i]; r.name == name {
			r.over = true
		}
	}
}

// others says how the operations before this one ended, of the test and of those beside it under
// the same outermost one.
func (h *history) others(name string) string {
	root := rootName(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.of(name)
	if t == nil || t.n == 0 {
		return ""
	}
	var list []string
	for k := max(0, t.n-keepRows); k < t.n; k++ {
		list = append(list, t.rows[k%keepRows].text(root, name))
	}
	text := fmt.Sprintf("%s before this in %s: %s", plural(t.n, "operation"), root, strings.Join(list, "; "))
	if t.n > keepRows {
		text = strings.Replace(text, ": ", fmt.Sprintf(", the last %d: ", keepRows), 1)
	}
	return text
}

// text says how it ended, in the report of the test of that name.
func (r row) text(root, test string) string {
	how := "ok"
	if r.failed {
		how = "FAILED"
	}
	name := strings.TrimPrefix(strings.TrimPrefix(r.name, root), "/")
	if name != "" {
		name += " "
	}
	if r.name == test {
		name = ""
	}
	end := r.outcome.String()
	if r.outcome == Other {
		end = "an error of its own"
	}
	return fmt.Sprintf("%s%s (%s, %s)", name, how, inPhase(end, r.phase), digits(r.elapsed))
}
