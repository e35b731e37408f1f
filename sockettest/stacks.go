package sockettest

import (
	"runtime"
	"sync"
	"time"
)

// everyStack is shared by all who look now and then: to dump the stacks of all goroutines stops them all, and a hundred
// parallel bubbles that each do so each second would do little else.
var everyStack stacks

// stacks are those of all goroutines, as they were at a time.
type stacks struct {
	mu   sync.Mutex
	text string
	at   time.Time
	room int
}

// recent returns stacks that are no older than that, and when they were taken.
func (s *stacks) recent(age time.Duration) (string, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || time.Since(s.at) >= age {
		s.text, s.at = s.dump(), time.Now()
	}
	return s.text, s.at
}

// dump begins with the room that was enough the last time.
func (s *stacks) dump() string {
	for s.room = max(s.room, 1<<16); ; s.room *= 2 {
		b := make([]byte, s.room)
		if n := runtime.Stack(b, true); n < len(b) {
			return string(b[:n])
		}
	}
}
