package sockettest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/story"
)

// Rules that hold whatever the fixture is.
const (
	ruleSelfClosed = `"use of closed network connection" always means that the %[1]s's own Close came first: look for what closed it, and who still held it`
	ruleHalfClose  = "EOF ends only the reading: after the fixture's half-close the %s can, and should, still write (RFC 9293, 3.6)"
	ruleEOF        = "EOF says that the other side is done, not that its answer was whole: that is up to the reader to find (io.ErrUnexpectedEOF)"
	ruleStale      = "the fixture had ended connection #%d before the call began: one that is kept can be gone at any time, so who keeps some tries again on a" +
		" new one, or looks first (RFC 9112, 9.3.1)"
	ruleRST        = "RST fails one read or write with ECONNRESET, whatever was under way: what was sent may have been done, or not"
	ruleOwnFailure = "it was the fixture that ended the connection: what it got is not what it waits for, as the line \"failed\" says"
	ruleFINorRST   = "a socket that is closed sends FIN, or RST if bytes are unread in it (RFC 9293, 3.6.1): which one says whether all was read"
	ruleContext    = "cancelling a context does not interrupt a %s: something must set a past deadline, or close the connection, when it is done" +
		" (context.AfterFunc)"
	ruleContextDial = "a dial obeys only the context that it is given: DialContext, not Dial"
	ruleEndless     = "an answer without an end must be cut off by its size: read through a limit (io.LimitReader)"
	ruleDrip        = "each byte restarts a deadline that is set for each read, so only a limit on the whole ends this: either that is what it has, or" +
		" no deadline at all"
	ruleEachAttempt = "each attempt has a limit of its own here: a limit on all of them is one deadline that they share (context.WithTimeout around the loop)"
	ruleBackoff     = "between attempts a client must wait: %s"
	ruleKernel      = "it was the kernel that gave up (ETIMEDOUT): the client set no limit of its own"
	ruleMinutes     = "a SYN that nobody answers is retried by the kernel for minutes (tcp(7), tcp_syn_retries): only a limit on the connect ends it sooner" +
		" (net.Dialer.Timeout, DialContext)"
	ruleRead      = "a read on an open connection on which nothing comes waits forever: only a deadline ends it (SetReadDeadline)"
	ruleWrite     = "a write waits as long as the other side does not read: only a deadline ends it (SetWriteDeadline)"
	rulePast      = "it did not wait: the deadline was past when the call began. A deadline is a moment, not a span: each operation sets its own (SetDeadline)"
	ruleHandshake = "a handshake has no limit of its own: only a deadline, or the context of HandshakeContext, ends it"
	ruleLoopEnds  = "Accept failed %s before this, and the server has not called it again: a loop that returns takes the server down, and one that pauses" +
		" must do so for less than its clients wait (net/http: 5 ms, doubled up to 1 s)"
	ruleLoopSpins = "an accept loop must pause after an error: this one called again %s later, which burns a processor until the trouble is over (net/http" +
		" pauses for 5 ms, doubled up to 1 s)"
	ruleAccept = "accept waits for the next connection forever: only Close, or a deadline of the listener, ends it"
)

// waits are the rules of what waits in a phase.
var waits = map[string]string{"connect": ruleMinutes, "read": ruleRead, "write": ruleWrite, "handshake": ruleHandshake, "accept": ruleAccept}

// chooseRule returns the fact that explains how what was got differs from what was wanted; empty if
// none is known to.
func (f failure) chooseRule() string {
	r, w := f.result, f.want
	switch _, right := w.choose(r); {
	case !right && f.stale() > 0:
		return fmt.Sprintf(ruleStale, f.stale())
	case exited(r.Err):
		return ""
	case f.ruleOfAccepts() != "":
		return f.ruleOfAccepts()
	case r.reach.text() != "" && r.Outcome != SelfClosed:
		return ""
	case r.conn > 0 && f.tested == "client":
		return ""
	case r.conn > 0:
		return f.ruleOfEnd(right)
	case r.Outcome == Blocked && w.outcome != Blocked:
		return f.ruleOfBlocked()
	case r.Outcome == TimedOut && (r.Phase == "read" || r.Phase == "write") && r.Elapsed < time.Millisecond:
		return rulePast
	case f.hurriedAttempts() != "":
		return fmt.Sprintf(ruleBackoff, f.hurriedAttempts())
	case r.Outcome == SelfClosed && f.did(fixtures.SentFIN):
		return fmt.Sprintf(ruleHalfClose, f.tested)
	case r.Outcome == SelfClosed && w.outcome != SelfClosed:
		return fmt.Sprintf(ruleSelfClosed, f.tested)
	case right && r.Elapsed < w.earliest():
		return ""
	case right:
		return f.ruleOfLate()
	}
	return f.ruleOfWrongOutcome()
}

// ruleOfEnd is for the end of a connection of an attack.
func (f failure) ruleOfEnd(right bool) string {
	switch r := f.result; {
	case f.want.outcome == Blocked, right && r.Elapsed < f.want.earliest():
		return ""
	case right, r.Outcome == Blocked:
		return f.rule
	}
	return ruleFINorRST
}

// ruleOfBlocked is for an operation that does not return.
func (f failure) ruleOfBlocked() string {
	r := f.result
	switch r.busy.kind {
	case dripping:
		return ruleDrip
	case flooded:
		return ruleEndless
	case trying:
		return ruleEachAttempt
	}
	switch {
	case f.want.outcome == Canceled && r.Phase == "connect":
		return ruleContextDial
	case (f.want.outcome == Canceled || r.ctxEnded > 0) && (r.Phase == "read" || r.Phase == "write"):
		return fmt.Sprintf(ruleContext, r.Phase)
	case r.Phase == "resolve":
		return f.rule
	}
	return waits[r.Phase]
}

// ruleOfAccepts is for an accept loop that has ended, or that does not pause.
func (f failure) ruleOfAccepts() string {
	var failed time.Duration
	shortest, waits := time.Hour, false
	for _, e := range f.shown {
		switch {
		case e.Kind == fixtures.Failed:
			failed, waits = e.At, true
		case e.Kind == fixtures.Accepting && waits:
			shortest, waits = min(shortest, e.At-failed), false
		}
	}
	switch {
	case !f.did(fixtures.Accepting):
		return "" // it is no listener
	case waits:
		return fmt.Sprintf(ruleLoopEnds, digits(f.from+f.result.Elapsed-failed))
	case shortest < time.Millisecond:
		return fmt.Sprintf(ruleLoopSpins, digits(shortest))
	}
	return ""
}

// ruleOfLate is for the right end that comes too late.
func (f failure) ruleOfLate() string {
	r := f.result
	if r.Outcome != TimedOut {
		return ""
	}
	switch attempts, _ := f.tries(); {
	case slices.ContainsFunc(r.Classes, func(c Class) bool { return c.Outcome == TimedOut && c.Source == "kernel" }):
		return ruleKernel
	case len(attempts) > 1:
		return ruleEachAttempt
	case f.didSend() && r.Phase == "read":
		return ruleDrip
	}
	return ""
}

// ruleOfWrongOutcome is for another end than the one that is wanted. That of the fixture says why a
// connect fails at it, and the like.
func (f failure) ruleOfWrongOutcome() string {
	if o := f.result.Outcome; (o == Closed || o == ResetByPeer) && f.did(fixtures.Failed) {
		return ruleOwnFailure
	}
	switch f.result.Outcome {
	case Other, Accepted:
		if f.answeredTwice() {
			return f.rule
		}
	case Closed:
		if f.did(fixtures.SentFIN) {
			return fmt.Sprintf(ruleHalfClose, f.tested)
		}
		return ruleEOF
	case ResetByPeer:
		return ruleRST
	case TimedOut:
		return waits[f.result.Phase]
	case Rejected, NotFound, Exhausted, Unreachable:
		return f.rule
	}
	return ""
}

// answeredTwice reports whether a datagram was answered more than once.
func (f failure) answeredTwice() bool {
	answered := map[int]bool{}
	return slices.ContainsFunc(f.shown, func(e fixtures.Event) bool {
		before := answered[e.Conn]
		answered[e.Conn] = before || e.Kind == udp.Answered
		return before && e.Kind == udp.Answered
	})
}

// stale returns the connection that the fixture had ended when the call began, if that is what the
// call met; 0 if not.
func (f failure) stale() int {
	at, _ := f.tries()
	if o := f.result.Outcome; o != Closed && o != ResetByPeer || len(at) > 0 || f.result.conn > 0 {
		return 0
	}
	ends := func(e fixtures.Event) bool {
		return e.Kind == fixtures.Ended || e.Kind == fixtures.SentFIN || e.Kind == fixtures.SentRST
	}
	before := f.shown[:f.begun]
	if i := slices.IndexFunc(before, ends); i >= 0 && !slices.ContainsFunc(f.shown[f.begun:], ends) {
		return before[i].Conn
	}
	return 0
}

// did reports whether the fixture has recorded that by the verdict.
func (f failure) did(k fixtures.EventKind) bool {
	return slices.ContainsFunc(f.shown, func(e fixtures.Event) bool { return e.Kind == k })
}

// didSend reports whether the fixture sent anything since the call began.
func (f failure) didSend() bool {
	return slices.ContainsFunc(f.shown[f.begun:], func(e fixtures.Event) bool { return e.Kind == fixtures.Sent })
}

// tries returns when the client connected since the call began, from its start, and how many SYNs
// were dropped since.
func (f failure) tries() (at []time.Duration, dropped int) {
	last := map[string]int{} // of each part
	for i, e := range f.shown {
		switch {
		case e.Kind == fixtures.SYN:
			part := story.ConnOf(e).Part
			if i >= f.begun {
				dropped += e.Count - last[part]
			}
			last[part] = e.Count
		case i >= f.begun && (e.Kind == fixtures.ConnAccepted || e.Kind == fixtures.Denied):
			at = append(at, max(0, e.At-f.from))
		}
	}
	return at, dropped
}

// firstRetry is when a kernel first sends a SYN again (RFC 6298, 2.1).
const firstRetry = time.Second

// attempts sums up how often the client connected, and tells that from SYNs that its kernel sent
// again.
func (f failure) attempts() string {
	if f.tested == "server" {
		return ""
	}
	at, dropped := f.tries()
	if f.result.attempts != nil { // they were counted
		at, dropped = nil, 0
		for _, a := range f.result.attempts {
			at = append(at, a.At)
		}
	}
	var parts []string
	if len(at) > 1 {
		number := strconv.Itoa(len(at))
		if f.omitted > 0 {
			number += " at least"
		}
		parts = append(parts, number+", at "+f.times(at))
	}
	hung, sent := synsOf(f.result.sockets)
	switch {
	case dropped < 2:
	case f.result.Elapsed < firstRetry:
		parts = append(parts, plural(dropped, "connect")+" without an answer: no kernel sends a SYN again within "+digits(firstRetry))
	case hung > 0 && sent >= dropped: // by one more if that is on its way
		parts = append(parts, fmt.Sprintf("%s without an answer; %s sent again by the kernel", plural(hung, "connect"), plural(sent-hung, "SYN")))
	default:
		parts = append(parts, plural(dropped, "SYN")+" without an answer, those that the kernel sent again among them")
	}
	return strings.Join(parts, "; ")
}

// synsOf counts the connects that hang, and the SYNs that were sent for them.
func synsOf(sockets []fixtures.Sockets) (hung, sent int) {
	for _, s := range sockets {
		if s.Other != nil && s.Other.State == "SYN-SENT" {
			hung++
			sent += 1 + s.Other.Retransmits
		}
	}
	return hung, sent
}

// times writes when attempts were made.
func (f failure) times(at []time.Duration) string {
	var list []string
	for i, d := range at {
		if i == story.Ends && len(at) > story.Ends+1 {
			list = append(list, fmt.Sprintf("... and %s", digits(at[len(at)-1])))
			break
		}
		list = append(list, digits(d))
	}
	s := strings.Join(list, ", ")
	if virtual() {
		s += " (fake clock)"
	}
	return s
}

// hurriedAttempts says how close attempts came, if an operation that was to take longer made
// several.
func (f failure) hurriedAttempts() string {
	at, _ := f.tries()
	if len(at) < 2 || f.result.Elapsed >= f.want.earliest() || f.result.Outcome == Accepted {
		return ""
	}
	var most time.Duration
	for i := range at[1:] {
		most = max(most, at[i+1]-at[i])
	}
	return fmt.Sprintf("%d attempts came %s apart at most, and the wanted %s are the pauses between them", len(at), digits(most), digits(f.want.min))
}

// hint is for a window that was not over yet, and for an error that tells nothing by its type.
func (f failure) hint() string {
	r := f.result
	switch {
	case r.conn > 0 && r.busy.doing != "": // it was ended before that
		return ""
	case r.Outcome == Blocked && f.want.outcome != Blocked && f.want.bounded && r.Elapsed < sum(f.want.max, f.slack):
		return "the test's own deadline came before the end of the window; want a shorter window, or go test -timeout"
	case r.Outcome != Other || r.Err == nil || exited(r.Err):
		return ""
	case f.rightTime() && f.sent == 0 && f.tested == "client":
		return "the fixture sent 0 B, so no answer can have said this: is the error of the " + f.waitOf() + " dropped, or wrapped without %w?"
	}
	text := "no type in the chain comes from a socket: is the cause dropped, or wrapped without %w?"
	if f.want.target == nil {
		text += " (What the client has its own error for, ErrorIs(target) wants.)"
	}
	return text
}

// waitOf is what a client without an answer has waited in.
func (f failure) waitOf() string {
	if f.did(fixtures.ConnAccepted) {
		return "read"
	}
	return "dial"
}

// A busyKind is what an operation does that does not wait.
type busyKind int

const (
	waiting  busyKind = iota // it waits, or that cannot be told
	dripping                 // it reads little by little
	flooded                  // it reads as much as it can
	pouring                  // it writes
	trying                   // it connects again and again
	running                  // it computes
)

// A busy operation is one that has not returned, and does not just wait.
type busy struct {
	kind  busyKind
	doing string // such as "still reading"
	text  string // how much, and when last
}

// flood is how many bytes are no drip any more.
const flood = 64 << 10

// busyWith reports whether an operation that has not returned is busy: bytes pass just now, or it
// connects again and again, or runs. from is its start.
func busyWith(ep Running, r Result, from time.Duration) busy {
	now, recent := from+r.Elapsed, max(r.Elapsed/5, 50*time.Millisecond)
	is := func(at time.Duration) bool { return at > from && now-at < recent }
	if c, ok := ep.(connected); ok {
		for _, c := range slices.Backward(c.Conns()) {
			in, out := c.LastBytes()
			came, sent := c.Bytes()
			switch {
			case is(out) && r.Phase != "write":
				return reading(c, r, sent, now-out)
			case is(in) && r.Phase != "read":
				return busy{pouring, "still writing", fmt.Sprintf("%s came so far on #%d, the last %s before", amount(came), c.ID(), digits(max(now-in, 0)))}
			}
		}
	}
	at, _ := failure{result: r, from: from, events: r.events}.upToVerdict().tries()
	switch n := len(at); {
	case n > 2 && is(from+at[n-1]):
		return busy{trying, "still trying", fmt.Sprintf("%d attempts so far, the last %s before", n, digits(max(now-from-at[n-1], 0)))}
	case r.Phase == unknownPhase && (r.state == "running" || r.state == "runnable"):
		return busy{running, "still running", "it waits for nothing, and was on a processor"}
	}
	return busy{}
}

// reading tells how much an operation has read that reads on and on.
func reading(c *fixtures.Conn, r Result, sent int64, ago time.Duration) busy {
	for _, s := range r.sockets {
		if s.Conn == c.ID() && s.Other != nil && s.Own != nil {
			sent -= int64(s.Other.Unread + s.Own.Unacked)
		}
	}
	b := busy{dripping, "still reading", fmt.Sprintf("%s taken so far on #%d, the last sent %s before, and no end in sight", amount(max(sent, 0)), c.ID(), digits(max(ago, 0)))}
	if sent > flood {
		b.kind = flooded
	}
	return b
}
