package sockettest

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"example.com/go-sockettest/internal/patience"
)

// looks is how often a watchdog looks in its limit.
const looks = 20

// A watchdog looks from outside at the goroutines of one bubble, and tells once who keeps its clock from moving.
type watchdog struct {
	name  string        // of the test
	limit time.Duration // of real time
	out   io.Writer

	bubble atomic.Value // a string such as "synctest bubble 3"; none before enter
	buf    []byte       // for dumps, used again
}

// begin starts it, outside the bubble, and returns what ends it.
func (w *watchdog) begin() (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.watch(stop)
	}()
	return func() {
		close(stop)
		<-done
	}
}

// enter tells which bubble it is, inside it: the header of a stack is the one place where that can be read.
func (w *watchdog) enter() {
	buf := make([]byte, 256)
	header, _, _ := strings.Cut(string(buf[:runtime.Stack(buf, false)]), "\n")
	if i := strings.Index(header, bubblePrefix); i >= 0 {
		w.bubble.Store(header[i : i+len(bubblePrefix)+digitsIn(header[i+len(bubblePrefix):])])
	}
}

const bubblePrefix = "synctest bubble "

// digitsIn counts those that s begins with.
func digitsIn(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// watch looks at each tick. As in package patience a busy machine makes ticks late and never more of them, and whoever could
// run has had a turn by then, or is seen to be waiting for one.
func (w *watchdog) watch(stop <-chan struct{}) {
	tick := time.NewTimer(w.limit / looks)
	defer tick.Stop()
	var still standstill
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		patience.QueueUp()
		if id, ok := w.bubble.Load().(string); ok && still.look(waitsIn(w.dump(), id)) {
			fmt.Fprintln(w.out, w.report(id, still.waits))
			return
		}
		tick.Reset(w.limit / looks)
	}
}

func (w *watchdog) dump() string {
	for {
		if n := runtime.Stack(w.buf, true); n < len(w.buf) {
			return string(w.buf[:n])
		}
		w.buf = make([]byte, max(1<<16, 2*len(w.buf)))
	}
}

// A standstill is what was seen alike at each of the last looks.
type standstill struct {
	looks int
	waits []wait
}

// look adds what is seen now, and tells whether it has been so for the limit.
func (s *standstill) look(now []wait) bool {
	same := both(s.waits, now)
	if len(same) == 0 {
		s.looks, s.waits = 0, now
		return false
	}
	s.looks, s.waits = s.looks+1, same
	return s.looks >= looks
}

// both returns those of now that were before.
func both(before, now []wait) []wait {
	known := map[string]bool{}
	for _, w := range before {
		known[w.key()] = true
	}
	var same []wait
	for _, w := range now {
		if known[w.key()] {
			same = append(same, w)
		}
	}
	return same
}
