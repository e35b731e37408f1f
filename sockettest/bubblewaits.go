package sockettest

import (
	"fmt"
	"strings"
)

// A wait is a goroutine of a bubble that waits for something other than the rest of the bubble or time.
type wait struct {
	id      string   // "goroutine 23"
	state   string   // as the runtime calls it, such as "IO wait"
	frames  []string // "function  file:line", innermost first, without the runtime's and package testing's
	started string   // the go statement, in the same form
}

// key tells waits apart: the same goroutine in the same place.
func (w wait) key() string { return w.id + w.state + strings.Join(w.frames, "\n") }

// waitsIn finds, in a dump of all goroutines, those of a bubble whose waits are not durable. While any of the bubble runs, or
// could, there are none: it is not they that keep the clock.
func waitsIn(dump, bubble string) []wait {
	var waits []wait
	for g := range strings.SplitSeq(dump, "\n\n") {
		id, state, ok := inBubble(g, bubble)
		switch {
		case !ok || strings.HasSuffix(state, "(durable)"):
		case busy(state):
			return nil
		default:
			waits = append(waits, wait{id, state, ownFrames(framesOf(g)), startOf(g)})
		}
	}
	return waits
}

// inBubble reads a header such as "goroutine 23 [sync.Mutex.Lock, 2 minutes, synctest bubble 3]:", which may end in labels.
func inBubble(g, bubble string) (id, state string, ok bool) {
	header, _, _ := strings.Cut(g, "\n")
	id, rest, _ := strings.Cut(header, " [")
	rest, _, _ = strings.Cut(strings.TrimSuffix(rest, "]:"), " labels:{")
	fields := strings.Split(rest, ", ")
	return id, fields[0], len(fields) > 1 && fields[len(fields)-1] == bubble
}

// busy tells of the states in which a goroutine waits for nothing but its turn.
func busy(state string) bool {
	for _, s := range []string{"running", "runnable", "copystack", "preempted", "GC ", "stopping the world", "debug call"} {
		if strings.HasPrefix(state, s) {
			return true
		}
	}
	return false
}

// ownFrames leaves out what runs the test.
func ownFrames(frames []string) []string {
	var own []string
	for _, f := range frames {
		if strings.HasPrefix(f, "testing.") || strings.HasPrefix(f, "testing/") || strings.Contains(f, "/sockettest.bubble.") {
			continue
		}
		own = append(own, f)
	}
	return own
}

// startOf reads the last two lines: "created by db.TestPing.func1 in goroutine 22", and where that is.
func startOf(g string) string {
	_, by, ok := strings.Cut(g, "\ncreated by ")
	f, at, two := strings.Cut(by, "\n")
	f, _, _ = strings.Cut(f, " in goroutine ")
	if !ok || !two || strings.HasPrefix(f, "testing/") || f == "sync.(*WaitGroup).Go" {
		return "" // the bubble's first goroutine, and one whose go statement says nothing
	}
	at, _, _ = strings.Cut(strings.TrimSpace(at), " ")
	return f + "  " + at[strings.LastIndexByte(at, '/')+1:]
}

// report says who keeps a bubble's clock, and why that is.
func (w *watchdog) report(bubble string, waits []wait) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sockettest.Bubble: %s: the clock of %s has stood still for %v", w.name, bubble, w.limit)
	for i, g := range waits {
		if i == most {
			fmt.Fprintf(&b, "\n  %-10s %s", "", "and "+plural(len(waits)-i, "more goroutine"))
			break
		}
		fmt.Fprintf(&b, "\n  %-10s %s, not durable: %s", "waits", g.state, g.id)
		for _, f := range middleCut(g.frames) {
			fmt.Fprintf(&b, "\n  %-10s %s", "", f)
		}
		if g.started != "" {
			fmt.Fprintf(&b, "\n  %-10s %s", "started", g.started)
		}
	}
	fmt.Fprintf(&b, "\n  %-10s %s", "rule", "virtual time moves only while all goroutines of a bubble wait for each other or for time; "+
		"mutexes, real sockets, channels from outside and system calls stop it (testing/synctest)")
	return b.String()
}

// most is how many goroutines a report shows.
const most = 5

// middleCut leaves the ends of a long stack: where it waits, and what the goroutine is for.
func middleCut(frames []string) []string {
	const head, tail = 6, 2
	if len(frames) <= head+tail {
		return frames
	}
	return append(append(frames[:head:head], "..."), frames[len(frames)-tail:]...)
}
