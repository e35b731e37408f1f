package sockettest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
)

// A Release is what lets an operation go that is still blocked, as [Window.LetGo] wants it.
type Release int

// The ways to let an operation go.
const (
	ByContext Release = iota + 1 // its context is cancelled
	ByClose                      // the fixture is closed
	ByFIN                        // the fixture sends FIN on each connection that is open, and goes on
	ByRST                        // the fixture resets each connection that is open, and goes on
)

var releaseNames = [...]string{ByContext: "its context", ByClose: "the fixture's end", ByFIN: "FIN", ByRST: "RST"}

// String names the release as failure reports do.
func (r Release) String() string {
	if r > 0 && int(r) < len(releaseNames) {
		return releaseNames[r]
	}
	return "no release"
}

// LetGo chooses what lets an operation go that [Blocked].For(d) wants, and wants it to return then:
// what obeys its context needs nothing else. [Result.Then] is how it ended. Without LetGo the
// context is cancelled and, if that is not enough, the fixture closed.
//
//	r := sockettest.Expect(t, ep, sockettest.Blocked.For(time.Second).LetGo(sockettest.ByRST), client.Read)
//	err := sockettest.ResetByPeer.AtOnce().Check(*r.Then)
func (w Window) LetGo(by Release) Window {
	switch {
	case w.bad != nil:
	case by < ByContext || by > ByRST:
		w.bad = fmt.Errorf("LetGo(%d): want ByContext, ByClose, ByFIN or ByRST", by)
	case w.outcome != Blocked:
		w.bad = fmt.Errorf("%s.LetGo: only what is Blocked is let go; want Blocked.For(d).LetGo(%v)", w.what(), by)
	}
	w.letGo = by
	return w
}

// releasable finds what cannot let an operation at the fixture go.
func (w Window) releasable(ep Running, cancelable bool) error {
	switch _, ok := ep.(connected); {
	case w.letGo == ByContext && !cancelable:
		return fmt.Errorf("LetGo(ByContext) of an operation without a context; want a func(context.Context) error")
	case w.letGo >= ByFIN && !ok && !slices.ContainsFunc(partsOf(ep), func(c connected) bool { return c != nil }):
		return fmt.Errorf("LetGo(By%v) at %v, which has no connections; want ByContext or ByClose", w.letGo, ep)
	}
	return nil
}

// releaseBy lets the operation go as wanted, and reports whether it returned.
func (r *run) releaseBy(ep Running, elapsed time.Duration, end time.Time) bool {
	begun, within, did := time.Now(), contextGrace, ""
	switch r.want.letGo {
	case ByContext:
		r.cancel()
		did = "its context was cancelled"
	case ByClose:
		within = sum(2*time.Second, elapsed)
		did = "the fixture was closed" + r.of.usage.close(ep, r)
	case ByFIN:
		did = endAll(ep, "FIN was sent", (*fixtures.Conn).CloseWrite)
	case ByRST:
		did = endAll(ep, "RST was sent", (*fixtures.Conn).Reset)
	}
	if r.returns(within, end, r.lateSince) {
		r.howReleased = fmt.Sprintf("it returned %s after %s", digits(time.Since(begun)), did)
		return true
	}
	r.howReleased = fmt.Sprintf("%s, and it did not return for %s", did, digits(time.Since(begun)))
	return false
}

// endAll ends all connections that are open, and says what was done on which.
func endAll(ep Running, what string, do func(*fixtures.Conn) error) string {
	var names []string
	for _, part := range partsOf(ep) {
		if part == nil {
			continue
		}
		for _, c := range part.Conns() {
			if open(c) && do(c) == nil {
				names = append(names, fmt.Sprintf("#%d", c.ID()))
			}
		}
	}
	if len(names) == 0 {
		return "no connection was open on which " + what
	}
	if more := len(names) - keepSockets; more > 0 {
		names = append(names[:keepSockets], fmt.Sprintf("%d more", more))
	}
	return what + " on " + strings.Join(names, ", ")
}
