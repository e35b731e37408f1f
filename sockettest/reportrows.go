package sockettest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

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

// of returns what is remembered of a test's outermost one; nil if nothing is. What it did in an
// earlier run (go test -count) is forgotten. The caller holds mu.
func (h *history) of(name string) *testRows {
	root := rootName(name)
	i := slices.IndexFunc(h.tests[:], func(t testRows) bool { return t.root == root })
	if i < 0 {
		return nil
	}
	t := &h.tests[i]
	if slices.ContainsFunc(t.rows[:min(t.n, keepRows)], func(r row) bool { return r.over && r.name == name }) {
		t.n = 0
	}
	return t
}

// ended notes that a test is over.
func (h *history) ended(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.of(name)
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
