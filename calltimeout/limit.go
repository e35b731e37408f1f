package calltimeout

import (
	"fmt"
	"sync"
	"time"
)

// A limit turns a duration for each call into the deadlines of package net, for one direction of a
// connection.
type limit struct {
	set func(time.Time) error // SetReadDeadline, say

	mu       sync.Mutex
	deadline time.Time // the user's own; zero is none
	call     time.Time // when the latest call is over; zero is never
}

// begin starts a call that may take d. 0 is without limit and sets nothing: a deadline that the
// connection has already is its owner's.
func (l *limit) begin(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call = time.Now().Add(d)
	return l.set(l.earlier())
}

// setDeadline is for the user's own, which a call that is under way obeys as well.
func (l *limit) setDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	return l.set(l.earlier())
}

// earlier is the one that comes first. The caller holds mu.
func (l *limit) earlier() time.Time {
	if l.call.IsZero() || !l.deadline.IsZero() && l.deadline.Before(l.call) {
		return l.deadline
	}
	return l.call
}

// positive refuses what is no limit: zero would be over before it began.
func positive(name string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s is %v; want more than 0, such as 3s", name, d)
	}
	return nil
}
