package sockettest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

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
