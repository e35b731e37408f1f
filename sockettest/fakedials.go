package sockettest

import (
	"strings"
	"sync"
	"testing"

	"example.com/go-sockettest/fixtures"
)

// fakeDials are the connects of the dialers that [Dialer] has returned. They send no packet, so no
// fixture sees them: a connect to a fixture's address counts as one to the fixture.
var fakeDials dialCounts

// A dialCounts counts connects by address, for each test with its subtests.
type dialCounts struct {
	mu    sync.Mutex
	tests map[string]*dialCount
}

type dialCount struct {
	dialers int // whose test goes on
	to      map[string]int
}

// rootOf is the name of the test that t is, or is a subtest of.
func rootOf(t testing.TB) string {
	root, _, _ := strings.Cut(t.Name(), "/")
	return root
}

func (d *dialCounts) begin(test string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tests == nil {
		d.tests = map[string]*dialCount{}
	}
	if d.tests[test] == nil {
		d.tests[test] = &dialCount{to: map[string]int{}}
	}
	d.tests[test].dialers++
}

func (d *dialCounts) end(test string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tests[test].dialers--; d.tests[test].dialers == 0 {
		delete(d.tests, test)
	}
}

func (d *dialCounts) add(test, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.tests[test]; n != nil {
		n.to[address]++
	}
}

// count returns how many connects went to a fixture.
func (d *dialCounts) count(test string, s fixtures.Contact) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tests[test] == nil {
		return 0
	}
	n := 0
	for address, times := range d.tests[test].to {
		if names(s, address) {
			n += times
		}
	}
	return n
}

// watch adds them to what the fixture itself sees, if the test has such a dialer.
func (d *dialCounts) watch(t testing.TB, look func() fixtures.Contact) func() fixtures.Contact {
	test := rootOf(t)
	d.mu.Lock()
	none := d.tests[test] == nil
	d.mu.Unlock()
	if none {
		return look
	}
	before := d.count(test, look())
	return func() fixtures.Contact {
		s := look()
		s.Came = s.Came || d.count(test, s) > before
		return s
	}
}
