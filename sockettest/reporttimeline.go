package sockettest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
)

const (
	// keepEvents is how many lines a report shows at each end of a long timeline.
	keepEvents = 8
	// keepSaved is how many events are saved at each end of one that is very long.
	keepSaved = 10_000
	// keepNote is how much of an event's text is shown.
	keepNote = 400
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
		for _, c := range conns[max(0, len(conns)-keepEvents):] {
			c.PeerEnd() // asks the kernel
		}
	}
	for left := signPatience; left > 0 && (left > signPatience-5*signTick || midScript(timelineOf(ep))); {
		left -= pauseForSigns(r.reach.seen.Kernel)
	}
}

// midScript reports whether a script has still to hear that the other side has ended.
func midScript(events []fixtures.Event) bool {
	gone := map[int]bool{}
	for _, e := range events {
		switch e.Kind {
		case fixtures.PeerFIN, fixtures.PeerRST:
			gone[e.Conn] = true
		}
	}
	return slices.ContainsFunc(events, func(e fixtures.Event) bool {
		return e.Kind == fixtures.Script && gone[e.Conn] && strings.Contains(e.Note, " waits in ") && !strings.HasSuffix(e.Note, "Stall()")
	})
}

// A shown line is one event of a timeline, or a mark, which is never left out.
type shownLine struct {
	fixtures.Event
	mark string
}

// timeline writes the fixture's events, timed from the call's start, with marks where the call
// starts and where it ends. The middle of a long one is left out, what follows the verdict always.
func (f failure) timeline() []string {
	if len(f.events) == 0 {
		return nil
	}
	events, start := f.upToVerdict()
	all := make([]shownLine, 0, len(events)+3)
	ended := f.result.ctxEnded
	for i, e := range events {
		if ended > 0 && e.At > f.from+ended {
			all, ended = append(all, f.contextMark()), 0
		}
		if i == start {
			all = append(all, shownLine{fixtures.Event{At: f.from}, f.startMark(events[:start])})
		}
		all = append(all, shownLine{e, ""})
	}
	if start == len(events) {
		all = append(all, shownLine{fixtures.Event{At: f.from}, f.startMark(events)})
	}
	if ended > 0 {
		all = append(all, f.contextMark())
	}
	all = append(all, shownLine{fixtures.Event{At: sum(f.from, f.result.Elapsed)}, f.endMark()})
	return f.leaveOut(all)
}

// contextMark says that a context has ended which the client was to obey.
func (f failure) contextMark() shownLine {
	return shownLine{fixtures.Event{At: f.from + f.result.ctxEnded}, "a context of the call's is done: cancelled, or its deadline has passed --"}
}

// line writes one line.
func (f failure) line(l shownLine) string {
	kind, text := "--", l.mark
	if text == "" {
		kind, text = string(l.Kind), f.eventText(l.Event)
	}
	at := math.Round(float64(l.At-f.from)/1e5)/10 + 0 // of milliseconds; + 0 makes 0 of -0
	return strings.TrimRight(fmt.Sprintf("  %+9.1fms  %-9s %s", at, kind, text), " ")
}

// upToVerdict returns the events up to when the operation had ended, or was given up, with the
// number of those from before its start. What the client had done by then may be seen a moment
// later; what the fixture does then is left out.
func (f failure) upToVerdict() (events []fixtures.Event, start int) {
	over := sum(f.from, f.result.Elapsed)
	start = -1
	looked := f.lookedAt()
	gone := map[int]bool{} // connections that the client has ended: that the fixture follows says nothing
	for i, e := range f.events {
		if start < 0 && (i == looked || looked < 0 && e.At >= f.from) {
			start = len(events)
		}
		late := e.At > over
		switch {
		case f.result.conn > 0 && e.Conn > 0 && e.Conn != f.result.conn: // another connection of the attack
		case e.Kind == fixtures.Looked, e.Kind == fixtures.Stopped, e.Kind == fixtures.Ended && gone[e.Conn]:
		case late && f.result.conn == 0 && e.Kind == fixtures.Ended:
		case late && e.At > over+time.Second:
		default:
			events = append(events, e)
			if e.Kind == fixtures.PeerFIN || e.Kind == fixtures.PeerRST {
				gone[e.Conn] = true
			}
		}
	}
	if start < 0 {
		start = len(events)
	}
	return events, start
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
		return fmt.Sprintf("connection #%d is opened --", f.result.conn)
	}
	open := map[int]bool{}
	last := 0
	for _, e := range before {
		switch e.Kind {
		case fixtures.ConnAccepted:
			open[e.Conn], last = true, e.Conn
		case fixtures.Ended, fixtures.SentRST, fixtures.PeerRST, fixtures.PeerFIN:
			delete(open, e.Conn)
		}
	}
	text := "the call under test starts --"
	switch {
	case len(open) == 1 && open[last]:
		text += fmt.Sprintf("  (#%d is open from before)", last)
	case len(open) > 0:
		text += fmt.Sprintf("  (%s are open from before)", plural(len(open), "connection"))
	}
	return text
}

// endMark says how the call ended.
func (f failure) endMark() string {
	r := f.result
	switch {
	case r.conn > 0 && r.Outcome == Blocked:
		return "it is still open: the test waits no longer --"
	case r.conn > 0:
		return "the server has ended it --"
	case r.Outcome == Blocked:
		return "it has not returned: the test waits no longer --"
	case r.Err == nil:
		return "it returns without an error --"
	case exited(r.Err):
		return "it " + r.ending() + " --"
	}
	return "it returns the error above --"
}

// eventText writes an event, with the same words for the two sides everywhere.
func (f failure) eventText(e fixtures.Event) string {
	of := fmt.Sprintf("#%d ", e.Conn)
	text := e.Note
	switch e.Kind {
	case fixtures.ConnAccepted:
		text = strings.Replace(text, " from ", " from the client at ", 1)
	case fixtures.Connected:
		if f.result.conn > 0 {
			text = strings.Replace(text, " from ", " to the server, from ", 1)
		}
	case fixtures.PeerFIN, fixtures.PeerRST:
		text = of + "from the " + f.tested
	case fixtures.PeerBlocked:
		text = of + "the " + f.tested + "'s writes wait: neither side's buffer takes more"
	case fixtures.Ended:
		text = of + "by the fixture, after" + strings.TrimPrefix(text, strings.TrimSpace(of))
	}
	return printable(strings.ReplaceAll(text, "\n", " "), keepNote)
}

// cutsTimeline reports whether the report does not show all events.
func (f failure) cutsTimeline() bool {
	events, _ := f.upToVerdict()
	return len(events)+2 > 2*keepEvents
}

// leaveOut keeps both ends of a long timeline, and marks.
func (f failure) leaveOut(all []shownLine) []string {
	var lines []string
	left := 0
	flush := func() {
		if left > 0 {
			lines = append(lines, fmt.Sprintf("       ... %d more (%s) ...", left, f.savedAs()))
		}
		left = 0
	}
	for i, l := range all {
		if i >= keepEvents && i < len(all)-keepEvents && l.mark == "" {
			left++
			continue
		}
		flush()
		lines = append(lines, f.line(l))
	}
	return lines
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
		return "timeline.txt could not be written: " + printable(err.Error(), keepInner)
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
