package sockettest

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/internal/story"
	"example.com/go-sockettest/internal/timeline"
	"example.com/go-sockettest/network"
)

// A failure is all that a report tells, so that writing it is a pure function. docs/reports.md says
// what each line means.
type failure struct {
	headline string
	want     Window
	slack    time.Duration
	result   Result
	rule     string // of the fixture
	fixture  string
	tested   string        // what is under test: "client" or "server"
	conns    string        // of ExpectEnd, if one of several: how many failed
	others   string        // how the test's other operations ended
	from     time.Duration // the operation's start, since the endpoint's
	events   []fixtures.Event
	shown    []fixtures.Event // of them those up to the verdict
	begun    int              // how many of these are from before the call
	sent     int64            // by the fixture, in all
	omitted  int              // connections that the fixture does not keep
	saved    string           // where the whole timeline is
}

func reportOf(t testing.TB, err error, w Window, r Result, ep Running, start time.Time) string {
	if _, hit := err.(*closing); hit { // by what is not the client's
		return fmt.Sprintf("%v\n  fixture  %v", err, ep)
	}
	settleDown(ep, r)
	f := failureOf(err, w, r, ep, start.Sub(ep.Started()))
	f.others = rows.others(t.Name())
	return f.report(t)
}

func failureOf(err error, w Window, r Result, ep Running, from time.Duration) failure {
	slack, _ := w.allowed()
	f := failure{
		headline: err.Error(), want: w, slack: slack, result: r, rule: ep.Rule(), fixture: story.Printable(ep.String(), keepText), tested: testedBy(ep),
		from: from, events: r.events,
	}
	if r.events == nil { // it was not given up
		f.events = timelineOf(ep)
	}
	if r.sockets == nil {
		f.result.sockets = socketsOf(ep)
	}
	if f.wentOn() || r.Elapsed-r.ctxEnded < r.Elapsed/10 { // or of a call that returned with it
		f.result.ctxEnded = 0
	}
	if c, ok := ep.(connected); ok {
		for _, c := range c.Conns() {
			_, sent := c.Bytes()
			f.sent += sent
		}
	}
	if o, ok := ep.(interface{ Omitted() fixtures.Omitted }); ok {
		f.omitted = o.Omitted().Conns
		f.sent += o.Omitted().Sent
	}
	return f
}

// wentOn reports whether the client did something after a context had ended: it was that of a dial,
// then, which ends with it.
func (f failure) wentOn() bool {
	return slices.ContainsFunc(f.events, func(e fixtures.Event) bool {
		return e.At > f.from+f.result.ctxEnded && e.At <= f.from+f.result.Elapsed && (e.Kind == fixtures.Received || e.Kind == fixtures.ConnAccepted)
	})
}

// testedBy names what a fixture is there to test.
func testedBy(ep Running) string {
	switch ep.(type) {
	case *hostile.Attack, *fixtures.Listener:
		return "server"
	}
	return "client"
}

// report writes the failure, and keeps what it leaves out.
func (f failure) report(t testing.TB) string {
	f.attributes(t)
	f = f.upToVerdict()
	if f.cutsTimeline() {
		f.saved = f.saveTimeline(t)
	}
	return f.String()
}

// String writes the report. Its first line survives a grep.
func (f failure) String() string {
	f = f.upToVerdict()
	var b strings.Builder
	b.WriteString(f.headline)
	f.lines(&b, "want", f.wanted())
	f.lines(&b, "got", f.got()...)
	f.lines(&b, "let go", f.result.release)
	f.lines(&b, "window", f.window())
	f.lines(&b, "error", chain(f.result.Err)...)
	f.lines(&b, "compared", f.want.compared(f.result))
	if f.result.Outcome != SelfClosed { // nothing can come of that
		f.lines(&b, "contact", f.result.reach.text())
		f.lines(&b, "hint", f.hint(), f.networkHint())
	}
	f.lines(&b, "in", f.where()...)
	f.lines(&b, "attempts", f.attempts())
	f.lines(&b, "others", f.others)
	f.lines(&b, "conns", f.conns)
	f.lines(&b, "rule", f.chooseRule())
	f.lines(&b, "fixture", f.fixture)
	for _, l := range f.timeline() {
		fmt.Fprintf(&b, "\n%s", l)
	}
	if f.omitted > 0 {
		fmt.Fprintf(&b, "\n       ... %s not shown: they have ended, and an endpoint keeps a thousand of the first and of the last ...",
			plural(f.omitted, "connection"))
	}
	f.lines(&b, "sockets", f.sockets()...)
	return b.String()
}

// lines writes lines under one label, without those that are empty.
func (failure) lines(b *strings.Builder, label string, texts ...string) {
	for _, text := range texts {
		if text != "" {
			fmt.Fprintf(b, "\n  %-8s %s", label, text)
			label = ""
		}
	}
}

func (f failure) wanted() string {
	s := f.want.String()
	if f.result.blocked > 0 && f.did(fixtures.PeerBlocked) {
		s += " of when its writes stopped, at " + digits(f.result.blocked)
	}
	if !f.want.bounded || f.want.exact || f.want.outcome == Blocked {
		return s
	}
	if f.latest() > f.want.max {
		s += ", no later than " + digits(f.latest())
	}
	if f.result.late > 0 {
		s += " (" + digits(f.result.late) + " of that for timers that were late, under this test's load or others')"
	}
	return s
}

func (f failure) latest() time.Duration {
	return sum(f.result.blocked, f.want.max, f.result.late, f.slack)
}

// got is how it ended. An error that is the one wanted needs no class.
func (f failure) got() []string {
	r := f.result
	how := r.inPhase()
	switch _, ok := f.want.choose(r); {
	case ok && f.want.target != nil:
		how = inPhase(f.want.what(), r.Phase)
	case r.Outcome == SelfClosed:
		how = inPhase("closed by the "+f.tested+" itself (net.ErrClosed)", r.Phase)
	case f.rightTime():
		how = "at the right time the wrong error: " + f.missing()
	case r.Outcome == Blocked && r.Phase == unknownPhase && r.state != "":
		how += " (its goroutine: " + r.state + ")"
	}
	how += ", after " + digits(r.Elapsed)
	if r.busy.text != "" {
		how += ": " + r.busy.text
	}
	lines := []string{how}
	for _, c := range f.alsoGot() {
		lines = append(lines, "and "+inPhase(c.Outcome.String(), c.Phase))
	}
	return lines
}

// rightTime reports whether an error that says nothing by its type came when another was wanted.
func (f failure) rightTime() bool {
	r, w := f.result, f.want
	return r.Outcome == Other && r.Err != nil && !exited(r.Err) && w.bounded && w.outcome != Accepted && w.outcome != Blocked &&
		r.Elapsed >= w.earliest() && r.Elapsed <= f.latest()
}

// missing says what is not in the error's chain.
func (f failure) missing() string {
	switch {
	case f.want.target != nil:
		return "the one that is wanted is not in its chain"
	case f.want.outcome == TimedOut:
		return "no timeout in its chain"
	}
	return "nothing in its chain says " + f.want.outcome.String()
}

// alsoGot are the classes of the error that are not on the line before.
func (f failure) alsoGot() []Class {
	var more []Class
	for _, c := range f.result.Classes {
		if c.Outcome != f.result.Outcome || c.Phase != f.result.Phase {
			more = append(more, c)
		}
	}
	return more
}

// window draws when the operation returned (X) against when it should have, if the two are near
// each other.
func (f failure) window() string {
	_, right := f.want.choose(f.result)
	if !f.want.bounded || f.want.outcome == Blocked || !right {
		return ""
	}
	const width = 40
	from, to, x := f.want.earliest(), f.latest(), f.result.Elapsed
	if from <= x && x <= to { // it is not the time that is wrong
		return ""
	}
	span := max(from, to, x)
	span = max(sum(span, span/20), 1)
	if near := span / 5; (x-from).Abs() > near && (x-to).Abs() > near {
		return ""
	}
	at := func(d time.Duration) int { return int(float64(d) / float64(span) * width) }
	b := []byte(strings.Repeat("-", width+1))
	for i := at(from); i <= at(to); i++ {
		b[i] = '='
	}
	b[at(x)] = 'X'
	return fmt.Sprintf("0 %s %s   = allowed, X it returned", b, digits(span))
}

// where shows the own frames of what is under test, innermost first, and what they wait in.
func (f failure) where() []string {
	if f.result.conn > 0 {
		return f.result.stack
	}
	return ends(f.result.stack)
}

// inPhase is how it ended, and in which phase.
func (r Result) inPhase() string {
	if r.conn > 0 || exited(r.Err) {
		return r.ending()
	}
	if r.busy.doing != "" {
		return r.ending()
	}
	return inPhase(r.ending(), r.Phase)
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
func digits(d time.Duration) string { return timeline.Digits(d).String() }

// amount writes a number of bytes with two or three significant digits.
func amount(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

const (
	// keepErrors is how many errors a report shows.
	keepErrors = 32
	// keepText is how much it shows of the text of the first, and keepInner of each that it wraps.
	keepText, keepInner = 4096, 512
	// keepShort is how much of an error's text a headline shows.
	keepShort = 120
)

// chain writes an error and what it wraps, one line each, with types, and ends after keepErrors.
func chain(err error) []string {
	var lines []string
	cut := false
	says := errorText
	if !wrapsItself(err) { // so what it wraps does not either
		says = textOfEnding
	}
	var add func(err error, depth int, above string)
	add = func(err error, depth int, above string) {
		if cut = cut || len(lines) == keepErrors; err == nil || cut || depth > maxDepth {
			return
		}
		own, inner := says(err), unwrap(err)
		text := textOfError(err, own, inner, depth, says)
		if own == above { // some clients wrap several times without a word of their own
			text = "(the same)"
		}
		lines = append(lines, fmt.Sprintf("%s%T  %s", strings.Repeat("  ", depth), err, text))
		for _, e := range inner {
			if cut {
				break
			}
			add(e, depth+1, own)
		}
	}
	add(err, 0, "")
	if cut {
		lines = append(lines, "... and more")
	}
	return lines
}

// textOfError is what a line says of one error. Of one that joins others it is only what they do
// not say themselves.
func textOfError(err error, own string, inner []error, depth int, says func(error) string) string {
	room := keepText
	if depth > 0 {
		room = keepInner
	}
	if e, ok := err.(syscall.Errno); ok {
		return fmt.Sprintf("%s (%s)", story.Printable(own, room), rawsock.ErrnoName(e))
	}
	if len(inner) > 1 && len(inner) <= keepErrors { // all of them are shown
		rest := own
		for _, e := range inner {
			if e != nil {
				rest = strings.Replace(rest, says(e), "", 1)
			}
		}
		if strings.TrimSpace(rest) == "" {
			return fmt.Sprintf("(%d errors)", len(inner))
		}
	}
	return strings.ReplaceAll(story.Printable(own, room), "\n", "\n"+strings.Repeat(" ", 11+2*depth))
}

// inShort quotes the beginning of an error's text, on one line.
func inShort(err error) string {
	text := errorText(err)
	if len(text) > keepShort {
		text = strings.ToValidUTF8(text[:keepShort], "") + "..."
	}
	return fmt.Sprintf("%q", text)
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

// sockets says what the kernel knows of the connections, as far as that says something: where bytes
// wait, what is sent again, and which end is closed.
func (f failure) sockets() []string {
	if f.result.busy.kind != waiting { // what is in flight changes all the time
		return nil
	}
	var lines []string
	idle := 0
	for _, s := range f.result.sockets {
		facts := f.facts(s)
		switch {
		case len(facts) == 0:
			idle++
		case len(lines) < keepSockets:
			name := "-"
			if s.Own != nil {
				name = fmt.Sprintf("#%d", s.Conn)
			}
			lines = append(lines, fmt.Sprintf("%-3s %s", name, strings.Join(facts, ", ")))
		}
	}
	if more := len(f.result.sockets) - idle - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("... %d more", more))
	}
	if idle > 0 && f.result.Outcome == Blocked { // else that is nothing to wonder about
		all := "all " + plural(idle, "connection")
		switch {
		case idle == 1 && len(f.result.sockets) == 1:
			all = fmt.Sprintf("#%d", f.result.sockets[0].Conn)
		case idle < len(f.result.sockets):
			all = plural(idle, "other")
		}
		lines = append(lines, all+" open at both ends, nothing in flight")
	}
	return lines
}

// facts are what is worth telling of one connection; none of one that is open and idle.
func (f failure) facts(s fixtures.Sockets) []string {
	if s.Own == nil && s.Other != nil && s.Other.State == "SYN-SENT" {
		facts := []string{"SYN sent, unanswered"}
		if n := s.Other.Retransmits; n > 0 {
			facts = append(facts, "sent again "+plural(n, "time"))
		}
		return facts
	}
	var facts []string
	switch {
	case s.Own == nil:
		facts = append(facts, "connected, and not accepted by the fixture")
	case s.Other == nil && f.result.Outcome == Blocked:
		facts = append(facts, "the "+f.tested+"'s socket is gone, or not shown")
	case s.Other != nil && s.Other.Queued:
		facts = append(facts, "in the accept queue of the "+f.tested+", which has not accepted it")
	}
	blocked := f.result.Outcome == Blocked // else one of them may be about to end
	facts = append(facts, half(s.Own, "fixture", f.tested, blocked)...)
	return append(facts, half(s.Other, f.tested, "fixture", blocked)...)
}

// half is what there is to tell of one end.
func half(e *network.SocketInfo, whose, others string, blocked bool) (facts []string) {
	if e == nil {
		return nil
	}
	if e.State != "ESTABLISHED" && blocked {
		facts = append(facts, "the "+whose+"'s socket is "+e.State)
	}
	if e.Unread > 0 {
		facts = append(facts, fmt.Sprintf("%s unread by the %s", amount(int64(e.Unread)), whose))
	}
	if e.Unacked > 0 {
		facts = append(facts, fmt.Sprintf("%s written by the %s and not acknowledged by the %s", amount(int64(e.Unacked)), whose, others))
	}
	if e.Retransmits > 0 && e.Unacked > 0 {
		facts = append(facts, fmt.Sprintf("the %s has sent again %s", whose, plural(e.Retransmits, "time")))
	}
	return facts
}

// attributes tell those that read go test -json what failed, and how to have it again.
func (f failure) attributes(t testing.TB) {
	outcome, _, _ := strings.Cut(f.headline, "\n")
	fixture, _, _ := strings.Cut(f.fixture, " on ")
	t.Attr("sockettest.fixture", fixture)
	t.Attr("sockettest.outcome", outcome)
	t.Attr("sockettest.again", "go test -run '"+pattern(t.Name())+"'")
}

// pattern is what -run takes for one test.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
