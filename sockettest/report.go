package sockettest

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/rawsock"
)

// keepEvents is how many events a report shows at each end of a long timeline.
const keepEvents = 8

// keepErrors and keepText are how many errors a report shows, and how much of the text of each.
const (
	keepErrors = 32
	keepText   = 4096
)

// A failure is all that a report tells, so that writing it is a pure function.
type failure struct {
	headline string
	want     Window
	slack    time.Duration
	result   Result
	rule     string
	fixture  string
	conns    string        // of ExpectEnd, if one of several: how many failed
	from     time.Duration // the operation's start, since the endpoint's
	events   []fixtures.Event
}

func reportOf(t testing.TB, err error, w Window, r Result, ep Running, start time.Time) string {
	return failureOf(err, w, r, ep, start.Sub(ep.Started())).report(t)
}

func failureOf(err error, w Window, r Result, ep Running, from time.Duration) failure {
	slack, _ := w.allowed()
	f := failure{
		headline: err.Error(), want: w, slack: slack, result: r, rule: ep.Rule(), fixture: ep.String(),
		from: from, events: ep.Events(),
	}
	if r.sockets == nil {
		f.result.sockets = socketsOf(ep)
	}
	return f
}

// report writes the failure, and keeps what it leaves out.
func (f failure) report(t testing.TB) string {
	if len(f.events) > 2*keepEvents {
		f.saveEvents(t.ArtifactDir())
	}
	return f.String()
}

// saveEvents keeps the whole timeline where go test -artifacts leaves it.
func (f failure) saveEvents(dir string) {
	var b strings.Builder
	for _, e := range f.events {
		fmt.Fprintln(&b, e)
	}
	_ = os.WriteFile(filepath.Join(dir, "timeline.txt"), []byte(b.String()), 0o600)
}

// String writes the report. Its first line survives a grep.
func (f failure) String() string {
	var b strings.Builder
	b.WriteString(f.headline)
	f.line(&b, "want", f.wanted())
	f.line(&b, "got", fmt.Sprintf("%s, after %s", f.got(), digits(f.result.Elapsed)))
	for _, c := range f.others() {
		f.line(&b, "", "and "+inPhase(c.Outcome.String(), c.Phase))
	}
	f.line(&b, "window", f.window())
	for i, l := range chain(f.result.Err) {
		f.line(&b, label("error", i), l)
	}
	f.line(&b, "contact", f.result.reach.text())
	f.line(&b, "hint", f.hint())
	f.line(&b, "hint", f.networkHint())
	for i, l := range f.blocked() {
		f.line(&b, label("blocked", i), l)
	}
	f.line(&b, "conns", f.conns)
	f.line(&b, "rule", f.rule)
	f.line(&b, "fixture", f.fixture)
	for _, l := range f.timeline() {
		fmt.Fprintf(&b, "\n%s", l)
	}
	for i, l := range f.sockets() {
		f.line(&b, label("sockets", i), l)
	}
	return b.String()
}

// got is how it ended. An error that is the one wanted needs no class.
func (f failure) got() string {
	if _, ok := f.want.choose(f.result); ok && f.want.target != nil {
		return inPhase(f.want.what(), f.result.Phase)
	}
	return f.result.inPhase()
}

// line writes one labelled line, unless it is empty.
func (failure) line(b *strings.Builder, label, text string) {
	if text != "" {
		fmt.Fprintf(b, "\n  %-8s %s", label, text)
	}
}

// label names the first of several lines.
func label(s string, i int) string {
	if i > 0 {
		return ""
	}
	return s
}

func (f failure) wanted() string {
	s := f.want.String()
	if f.result.blocked > 0 {
		s += " of when its writes stopped, at " + digits(f.result.blocked)
	}
	if !f.want.bounded || f.want.exact || f.want.outcome == Blocked {
		return s
	}
	s += ", no later than " + digits(f.latest())
	if f.result.late > 0 {
		s += " (this machine's timers: " + digits(f.result.late) + " late)"
	}
	return s
}

func (f failure) latest() time.Duration {
	return sum(f.result.blocked, f.want.max, f.result.late, f.slack)
}

// others are the classes of the error that are not on the line before.
func (f failure) others() []Class {
	var more []Class
	for _, c := range f.result.Classes {
		if c.Outcome != f.result.Outcome || c.Phase != f.result.Phase {
			more = append(more, c)
		}
	}
	return more
}

// window draws when the operation returned (X) against when it should have (=).
func (f failure) window() string {
	if !f.want.bounded || f.want.outcome == Blocked {
		return ""
	}
	const width = 40
	span := max(f.want.earliest(), f.latest(), f.result.Elapsed)
	span = max(sum(span, span/20), 1)
	at := func(d time.Duration) int { return int(float64(d) / float64(span) * width) }
	b := []byte(strings.Repeat("-", width+1))
	for i := at(f.want.earliest()); i <= at(f.latest()); i++ {
		b[i] = '='
	}
	b[at(f.result.Elapsed)] = 'X'
	return fmt.Sprintf("0 %s %s", b, digits(span))
}

// chain writes an error and what it wraps, one line each, with types, and ends after keepErrors.
func chain(err error) []string {
	var lines []string
	cut := false
	var add func(err error, depth int, above string)
	add = func(err error, depth int, above string) {
		if cut = cut || len(lines) == keepErrors; err == nil || cut || depth > maxDepth {
			return
		}
		own := errorText(err)
		text := strings.ReplaceAll(shorten(own), "\n", "\n           ")
		if e, ok := err.(syscall.Errno); ok {
			text += " (" + rawsock.ErrnoName(e) + ")"
		} else if own == above { // some clients wrap several times without a word of their own
			text = "(the same)"
		}
		lines = append(lines, fmt.Sprintf("%s%T  %s", strings.Repeat("  ", depth), err, text))
		for _, inner := range unwrap(err) {
			if cut {
				break
			}
			add(inner, depth+1, own)
		}
	}
	add(err, 0, "")
	if cut {
		lines = append(lines, "... and more")
	}
	return lines
}

// shorten keeps the beginning of a very long text.
func shorten(s string) string {
	if len(s) <= keepText {
		return s
	}
	return strings.ToValidUTF8(s[:keepText], "") + fmt.Sprintf("... (%d bytes in all)", len(s))
}

// hint is for a window that was not over yet, and for an error that tells nothing by its type: what
// a test can name then.
func (f failure) hint() string {
	if f.result.Outcome == Blocked && f.want.outcome != Blocked && f.want.bounded && f.result.Elapsed < sum(f.want.max, f.slack) {
		return "the test's own deadline came before the end of the window; want a shorter window, or go test -timeout"
	}
	if f.result.Outcome != Other || f.want.target != nil || f.result.Err == nil {
		return ""
	}
	if exited(f.result.Err) {
		return ""
	}
	return "nothing can be told from the error's types; ErrorIs(target) wants an error of the client's own"
}

// blocked shows what it waits for, in which function of the client, and who called.
func (f failure) blocked() []string {
	if f.result.conn > 0 {
		return nil
	}
	s := ends(f.result.stack)
	if f.result.Outcome == Blocked && !f.result.unblocked {
		s = append(s, "it did not return when its context was cancelled and the fixture closed: its goroutine is left behind")
	}
	return s
}

// timeline writes the fixture's events, timed from the operation's start; the middle of a long one
// is cut.
func (f failure) timeline() []string {
	var lines []string
	for i, e := range f.events {
		if cut := len(f.events) - 2*keepEvents; cut > 0 && i >= keepEvents && i < keepEvents+cut {
			if i == keepEvents {
				lines = append(lines, fmt.Sprintf("       ... %d more (timeline.txt, with go test -artifacts) ...", cut))
			}
			continue
		}
		ms := float64(e.At-f.from) / float64(time.Millisecond)
		lines = append(lines, strings.TrimRight(fmt.Sprintf("  %+9.1fms  %-9s %s", ms, e.Kind, e.Note), " "))
	}
	return lines
}

// inPhase is how it ended, and in which phase.
func (r Result) inPhase() string {
	if r.conn > 0 || exited(r.Err) {
		return r.ending()
	}
	return inPhase(r.Outcome.String(), r.Phase)
}

// inPhase names the phase, if it is known.
func inPhase(s, phase string) string {
	if phase == unknownPhase {
		return s
	}
	return s + " in " + phase
}

// sum adds durations that are 0 or more; what is too long to represent is the longest that is not.
func sum(list ...time.Duration) time.Duration {
	var s time.Duration
	for _, d := range list {
		if s += d; s < 0 {
			return math.MaxInt64
		}
	}
	return s
}

// digits writes a duration with three significant digits.
func digits(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 || -d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// keepSockets is how many connections a report shows the sockets of.
const keepSockets = 5

// socketsOf asks an endpoint for both ends of its connections, if it can tell.
func socketsOf(ep any) []fixtures.Sockets {
	if e, ok := ep.(interface{ Sockets() []fixtures.Sockets }); ok {
		return e.Sockets()
	}
	return nil
}

// sockets writes both ends of each connection, like a small ss(8).
func (f failure) sockets() []string {
	var lines []string
	for i, e := range f.result.sockets {
		if i == keepSockets {
			return append(lines, fmt.Sprintf("... %d more", len(f.result.sockets)-keepSockets))
		}
		lines = append(lines, socketLines(e)...)
	}
	return lines
}

func socketLines(e fixtures.Sockets) []string {
	const format = "%-3s %-7s  %v  %v"
	if e.Own == nil {
		return []string{fmt.Sprintf(format, "-", "peer", e.Peer, e.Other)}
	}
	lines := []string{fmt.Sprintf(format, fmt.Sprintf("#%d", e.Conn), "fixture", e.Local, e.Own)}
	if e.Other == nil {
		return append(lines, fmt.Sprintf(format, "", "peer", e.Peer, "no socket on this machine, or none that is shown"))
	}
	return append(lines, fmt.Sprintf(format, "", "peer", e.Peer, e.Other))
}
