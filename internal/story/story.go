// Package story writes timelines for reports: the events of a fixture, with marks in between.
package story

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/go-sockettest/fixtures"
)

const (
	// Ends is how many lines are shown at each end of a long timeline.
	Ends = 8
	// keepNote is how much of an event's text is shown.
	keepNote = 400
)

// A Mark is a line of a timeline that is no event, and is never left out.
type Mark struct {
	Before int // this event
	At     time.Duration
	Text   string
}

// A Teller says how lines are worded.
type Teller struct {
	From   time.Duration // what times count from, since the fixture started
	Tested string        // what is under test: "client" or "server"
	Attack bool          // the fixture connects to what is under test
	Saved  string        // where the whole timeline is; empty if it is not kept
}

// Lines writes events and marks. The middle of a long timeline is left out.
func (t Teller) Lines(events []fixtures.Event, marks []Mark) []string {
	n := len(events) + len(marks)
	var lines []string
	marked, left := 0, 0
	for i := range n {
		line := ""
		switch e := i - marked; {
		case marked < len(marks) && marks[marked].Before == e:
			line = t.line(marks[marked].At, "--", marks[marked].Text)
			marked++
		case i >= Ends && i < n-Ends:
			left++
			continue
		default:
			line = t.Event(events[e])
		}
		if left > 0 {
			where := t.Saved
			if where != "" {
				where = " (" + where + ")"
			}
			lines = append(lines, fmt.Sprintf("       ... %d more%s ...", left, where))
			left = 0
		}
		lines = append(lines, line)
	}
	return lines
}

// Event writes the line of an event.
func (t Teller) Event(e fixtures.Event) string { return t.line(e.At, string(e.Kind), t.text(e)) }

// line writes one line.
func (t Teller) line(at time.Duration, kind, text string) string {
	ms := math.Round(float64(at-t.From)/1e5)/10 + 0 // + 0 makes 0 of -0
	return strings.TrimRight(fmt.Sprintf("  %+9.1fms  %-9s %s", ms, kind, text), " ")
}

// text writes an event, with the same words for the two sides everywhere.
func (t Teller) text(e fixtures.Event) string {
	text, conn := e.Note, ConnOf(e).String()
	rest, of := strings.TrimPrefix(text, conn), conn+" "
	switch e.Kind {
	case fixtures.ConnAccepted:
		text = strings.Replace(text, " from ", " from the client at ", 1)
	case fixtures.Connected:
		if t.Attack {
			text = strings.Replace(text, " from ", " to the server, from ", 1)
		}
	case fixtures.PeerFIN, fixtures.PeerRST:
		text = of + "from the " + t.Tested
	case fixtures.PeerBlocked:
		text = of + "the " + t.Tested + "'s writes wait: neither side's buffer takes more"
	case fixtures.Stuck:
		text = of + "the fixture's write waits: the " + t.Tested + " reads nothing"
	case fixtures.Ended:
		text = of + "by the fixture, after" + rest
	}
	return Printable(strings.ReplaceAll(text, "\n", " "), keepNote)
}

// A Conn is the connection that an event is of. The halves of a Dual and the fixtures of a Group
// number theirs by themselves.
type Conn struct {
	Part string // with a space; empty if there is but one
	ID   int
}

// ConnOf finds it.
func ConnOf(e fixtures.Event) Conn {
	part, _, _ := strings.Cut(e.Note, " ")
	rest := strings.TrimPrefix(e.Note, part+" ")
	n, err := strconv.Atoi(strings.TrimPrefix(part, "ep"))
	switch {
	case part == "IPv4", part == "IPv6":
		return Conn{part + " ", e.Conn}
	case err == nil && n > 0 && strings.HasPrefix(part, "ep"):
		inner := ConnOf(fixtures.Event{Conn: e.Conn, Note: rest})
		return Conn{part + " " + inner.Part, e.Conn}
	}
	return Conn{ID: e.Conn}
}

// String writes it as events do.
func (c Conn) String() string { return fmt.Sprintf("%s#%d", c.Part, c.ID) }

// Printable keeps the beginning of a text, and writes what is not to be printed as an escape: a
// report may go to a terminal.
func Printable(s string, room int) string {
	cut := ""
	if len(s) > room {
		s, cut = s[:room], fmt.Sprintf("... (%d bytes in all)", len(s))
		for range utf8.UTFMax - 1 { // not in the middle of a letter
			if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1 {
				s = s[:len(s)-1]
			}
		}
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := fmt.Sprintf("%q", r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String() + cut
}
