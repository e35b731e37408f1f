package sockettest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// An Outcome is how an operation on a socket ended. As a [Want] it is that outcome at any time, as
// long as [Expect] waits: a minute, or until shortly before the test's own deadline. Its methods
// set more.
type Outcome int

// The outcomes. The first three are the ways in which opening a socket ends.
const (
	Accepted     Outcome = iota + 1 // no error
	Rejected                        // refused, also by a TLS handshake; or the arguments cannot work (a malformed address)
	TimedOut                        // a deadline, a context or the kernel ended the wait
	Closed                          // the other side closed: EOF
	ResetByPeer                     // the other side reset: ECONNRESET, EPIPE
	Disconnected                    // Closed or ResetByPeer, for where the kernel chooses
	Canceled                        // the caller gave up: a context was cancelled; as a want, SelfClosed too
	Unreachable                     // no way to the host or its network
	NotFound                        // the name has no address
	Exhausted                       // no descriptors, no ports, no room in a queue
	Blocked                         // it has not returned
	Other                           // the error says none of these: unclassified
	SelfClosed                      // the caller used a socket that its own side had closed: net.ErrClosed
)

var outcomeNames = [...]string{
	Accepted: "accepted", Rejected: "rejected", TimedOut: "timed out", Closed: "closed", ResetByPeer: "reset",
	Disconnected: "disconnected", Canceled: "canceled", Unreachable: "unreachable", NotFound: "not found",
	Exhausted: "exhausted", Blocked: "still blocked", Other: "unclassified",
	SelfClosed: "closed by the client itself",
}

// String names the outcome as failure reports do.
func (o Outcome) String() string {
	if o > 0 && int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "no outcome"
}

// of names the outcome of an operation, or of a connection.
func (o Outcome) of(conn bool) string {
	if conn && o == Blocked {
		return "still open"
	}
	return o.String()
}

// covers reports whether an operation that ended in got satisfies one that wants o.
func (o Outcome) covers(got Outcome) bool {
	return o == got || o == Disconnected && (got == Closed || got == ResetByPeer) || o == Canceled && got == SelfClosed
}

// A Want is what [Expect] and [ExpectEnd] want: an [Outcome], at any time, or a [Window], which has
// a time and more.
//
//	sockettest.Rejected                              // at any time
//	sockettest.Rejected.AtOnce()                     // within the slack, 250 ms by default
//	sockettest.TimedOut.In("read").After(time.Second) // no earlier, and no later than the slack allows
//	sockettest.ErrorIs(db.ErrUnavailable).Before(time.Second)
type Want interface {
	// Check judges a result without a test. It returns nil, or an error that says in one line what
	// differs.
	Check(Result) error

	// String returns what is wanted, in the words of failure reports.
	String() string

	window() Window
}

// After wants the outcome no earlier than d, and no later than d plus [Window.Slack].
func (o Outcome) After(d time.Duration) Window { return o.window().After(d) }

// Before wants the outcome no later than d plus [Window.Slack].
func (o Outcome) Before(d time.Duration) Window { return o.window().Before(d) }

// AtOnce wants the outcome within [Window.Slack].
func (o Outcome) AtOnce() Window { return o.window().AtOnce() }

// At wants the outcome at d exactly, in virtual time; see [Window.At].
func (o Outcome) At(d time.Duration) Window { return o.window().At(d) }

// Early sets how much earlier than After the outcome may come; see [Window.Early].
func (o Outcome) Early(d time.Duration) Window { return o.window().Early(d) }

// Slack sets how much later than its window the outcome may come; see [Window.Slack].
func (o Outcome) Slack(d time.Duration) Window { return o.window().Slack(d) }

// In wants the outcome in that phase; see [Window.In].
func (o Outcome) In(phase string) Window { return o.window().In(phase) }

// Unfired wants the outcome without the fault; see [Window.Unfired].
func (o Outcome) Unfired() Window { return o.window().Unfired() }

// Unreached wants the outcome without anything reaching the fixture; see [Window.Unreached].
func (o Outcome) Unreached() Window { return o.window().Unreached() }

// For wants the operation still blocked after d. It is for [Blocked] only: with another outcome,
// Expect fails. The operation is then released: its context is cancelled and, if that is not
// enough, the fixture closed. In [ExpectEnd] the connections must still be open after d.
func (o Outcome) For(d time.Duration) Window { return o.window().blockedFor(d) }

// Check judges a result; see [Window.Check].
func (o Outcome) Check(r Result) error { return o.window().Check(r) }

func (o Outcome) window() Window { return Window{outcome: o} }

// defaultSlack is for clients that are late several times in a row, as those that try again are on
// a busy machine.
const defaultSlack = 250 * time.Millisecond

// slackEnv sets the slack of a whole run: SOCKETTEST_SLACK=1s go test ./...
const slackEnv = "SOCKETTEST_SLACK"

// A Window is an outcome, or an error, within a window of time. The methods of an [Outcome] and
// [ErrorIs] make one. Each method returns a changed copy; their order does not matter.
type Window struct {
	outcome Outcome
	target  error // ErrorIs: the error to find instead of an outcome; ErrorAs, ErrorValue: a *matcher
	phase   string
	min     time.Duration
	early   time.Duration // how much earlier than min it may come
	max     time.Duration // the end of the window, without slack
	bounded bool          // a method has set max
	slack   time.Duration // negative: the default
	slackOK bool          // slack is settled
	strict  bool          // Slack was called
	conn    bool          // it is about a connection: ExpectEnd
	exact   bool          // At was called
	unfired bool          // Unfired was called
	stale   bool          // and too late: the fault had fired
	missed  bool          // Unreached was called
	retry   Backoff       // Retrying was called, if it is not zero
	tried   int           // attempts before the operation
	letGo   Release       // LetGo was called, if it is not 0
	bad     error         // the first argument that cannot be
}

func (w Window) window() Window { return w }

// ErrorIs wants an error that matches target by [errors.Is], for clients that hide what happened
// behind an error of their own. Without After or Before it may come at any time.
func ErrorIs(target error) Window {
	w := Window{target: target}
	if target == nil {
		w.bad = errors.New("ErrorIs(nil): want an error to look for; for success use Accepted")
	}
	return w
}

// After requires the outcome no earlier than d, measured exactly on the monotonic clock;
// [Window.Early] allows less. Unless Before is called too, the outcome is late after d plus
// [Window.Slack].
func (w Window) After(d time.Duration) Window {
	w.refuseNegative("After", d)
	w.min = d
	if !w.bounded {
		w.max = d
	}
	w.bounded = true
	return w
}

// Before requires the outcome no later than d plus [Window.Slack].
func (w Window) Before(d time.Duration) Window {
	w.refuseNegative("Before", d)
	w.max, w.bounded = d, true
	return w
}

// AtOnce requires the outcome within [Window.Slack]: it is Before(0).
func (w Window) AtOnce() Window { return w.Before(0) }

// At requires the outcome at d exactly, without slack. It works in a testing/synctest bubble, where
// time is virtual, and on a network that goes by its clock, such as simnet's. Elsewhere At is a bad
// argument.
func (w Window) At(d time.Duration) Window {
	w.refuseNegative("At", d)
	w.min, w.max, w.bounded, w.exact = d, d, true, true
	w.slack, w.slackOK = 0, true
	return w
}

// Early sets how much earlier than After the outcome may come. The default is 0, since the timers
// of Go and the kernel are never early. Some servers are, because they read the time once per round
// of their event loop: nginx ends a connection up to 0.3 ms early.
func (w Window) Early(d time.Duration) Window {
	w.refuseNegative("Early", d)
	w.early = d
	return w
}

// In requires that phase: "resolve", "bind", "connect", "accept", "handshake", "read", "write" or
// "close". Accepted has none. That of Blocked is read from the operation's own stack: of an
// operation that waits for another goroutine, as a [net/http.Client] does, it cannot be told, and
// the test fails and says so.
func (w Window) In(phase string) Window {
	if !validPhase(phase) && w.bad == nil {
		w.bad = fmt.Errorf("In(%q): want one of %q", phase, phases)
	}
	w.phase = phase
	return w
}

// Slack sets how much later than its window the outcome may come. The default is 250 ms, or the
// duration in the environment variable SOCKETTEST_SLACK. In a testing/synctest bubble it is 0.
//
// A busy machine gets more, measured by timers that run beside the operation: the sum of their
// three worst delays, as one wait may be held up when it begins, when it wakes up, and when others
// learn of it. If Slack was not called, it gets all the time that late timers took, up to 2 s.
//
// This errs both ways. An operation that is late by itself passes if the machine was as late: to
// find delays of less than 2 s on a busy machine, call Slack. With Slack, an operation that waits
// many times, as a client that retries does, fails if the machine takes more than slack and the
// three worst delays.
func (w Window) Slack(d time.Duration) Window {
	w.refuseNegative("Slack", d)
	w.slack, w.slackOK, w.strict = d, true, true
	return w
}

// maxExcuse bounds what a machine excuses that is slow all the time.
const maxExcuse = 2 * time.Second

// excused is how much of a delay the machine excuses that was late by all in sum, and by worst at
// its three worst times.
func (w Window) excused(worst, all time.Duration) time.Duration {
	if w.strict {
		return worst
	}
	return max(worst, min(all, maxExcuse))
}

// Unfired requires that the fault has not come by the end of the test. It is for a client that
// avoids the fault: one that never uses a connection twice never meets an httpfault.CloseOnReuse. A
// fault that has come before the operation, if only for another client, or that the fixture does
// not have, says nothing of it: that fails, too. Without Unfired, a success against a fault that
// never came fails the test.
func (w Window) Unfired() Window {
	w.unfired = true
	return w
}

// Unreached requires that nothing of the operation reaches the fixture: no connect, no byte, no
// query. It is for a call that should be answered from a cache, or by an open circuit breaker:
// ErrorIs(ErrOpen).Unreached(). Where the kernel does not show whether the fixture was reached, as
// at [fixtures.Refused], Expect says so and fails: use a fixture that listens, or simnet.
func (w Window) Unreached() Window {
	w.missed = true
	return w
}

// phases are what a Want may name.
var phases = []string{"resolve", "bind", "connect", "accept", "handshake", "read", "write", "close", unknownPhase}

const unknownPhase = "call"

func validPhase(p string) bool { return slices.Contains(phases, p) }

func (w Window) blockedFor(d time.Duration) Window {
	w.refuseNegative("For", d)
	if w.outcome != Blocked && w.bad == nil {
		w.bad = fmt.Errorf("%s.For(%v): only Blocked lasts for a time; want After or Before", w.outcome, d)
	}
	w.min, w.max, w.bounded = d, d, true
	return w
}

func (w *Window) refuseNegative(method string, d time.Duration) {
	if d < 0 && w.bad == nil {
		w.bad = fmt.Errorf("%s(%v): want 0 or more", method, d)
	}
}

// allowed returns the slack that is in force.
func (w Window) allowed() (time.Duration, error) {
	if w.slackOK {
		return w.slack, nil
	}
	if virtual() {
		return 0, nil
	}
	env := os.Getenv(slackEnv)
	if env == "" {
		return defaultSlack, nil
	}
	d, err := time.ParseDuration(env)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("environment variable %s is %q; want a duration such as 1s", slackEnv, env)
	}
	return d, nil
}

// check finds the wants that cannot be judged.
func (w Window) check() error {
	if w.bad != nil {
		return w.bad
	}
	if w.outcome == 0 && w.target == nil {
		return errors.New("want is the zero Window; want an outcome such as TimedOut.After(limit)")
	}
	if w.outcome == Accepted && w.phase != "" && w.phase != unknownPhase {
		return fmt.Errorf("In(%q) of Accepted: a success has no phase, which only an error tells; want it without In", w.phase)
	}
	if w.outcome == Blocked && w.min == 0 {
		return errors.New("want is Blocked without a time; want Blocked.For(d) with d more than 0")
	}
	if w.bounded && w.max < w.min {
		return fmt.Errorf("Before(%v) lies before After(%v); want the end of the window after its beginning", w.max, w.min)
	}
	if w.exact && !virtual() {
		return fmt.Errorf("At(%v): real time is never exact; want After(%v), or a testing/synctest bubble", w.max, w.max)
	}
	if w.early > 0 && (w.min == 0 || w.exact || w.outcome == Blocked) {
		return fmt.Errorf("Early(%v) of %q; want it with After, which says what is too early", w.early, w)
	}
	if w.missed && w.retry != (Backoff{}) {
		return errors.New("Unreached with Retrying: what does not reach the fixture is not counted; want one of them")
	}
	_, err := w.allowed()
	return err
}

// earliest is when the window begins.
func (w Window) earliest() time.Duration { return max(0, w.min-w.early) }

// virtual reports whether the caller is in a testing/synctest bubble: the clock there has no
// monotonic reading.
func virtual() bool {
	now := time.Now()
	return now == now.Round(0)
}

// String returns what is wanted, in the words of failure reports.
func (w Window) String() (text string) {
	s := w.what()
	if w.phase != "" {
		s += " in " + w.phase
	}
	if w.missed {
		s += " without reaching the fixture"
	}
	if w.retry != (Backoff{}) {
		defer func() { text += ", with " + w.retry.String() }()
	}
	return s + w.times()
}

func (w Window) times() string {
	after := digits(w.min)
	if w.early > 0 {
		after += " (or up to " + digits(w.early) + " earlier)"
	}
	switch {
	case w.outcome == Blocked && w.letGo > 0:
		return " after " + after + ", and let go by " + w.letGo.String()
	case w.outcome == Blocked:
		return " after " + after
	case w.exact:
		return " at " + w.max.String() + " exactly"
	case !w.bounded:
		return ""
	case w.max == 0:
		return " at once"
	case w.min == 0:
		return " before " + digits(w.max)
	case w.max > w.min:
		return " between " + after + " and " + digits(w.max)
	}
	return " after " + after
}

func (w Window) what() string {
	switch m, ok := w.target.(*matcher); {
	case ok:
		return m.what
	case w.target != nil:
		return "error " + inShort(w.target)
	}
	return w.outcome.of(w.conn)
}

// Check judges a result without a test. It returns nil, or an error that says in one line what
// differs. For a Result of [Measure] only slack makes up for a busy machine, since no timer ran
// beside it.
func (w Window) Check(r Result) error {
	if err := w.check(); err != nil {
		return err
	}
	if exited(r.Err) { // which is no outcome, whatever is wanted
		return fmt.Errorf("%s: %s, want %s", r.subject(), r.ending(), w.what())
	}
	if w.retry != (Backoff{}) && r.attempts == nil {
		return errors.New("Retrying: no attempts were counted; want it with Expect, and not the Check of a Measure")
	}
	if w.outcome == Blocked {
		return w.checkBlocked(r)
	}
	r, ok := w.choose(r)
	slack, _ := w.allowed()
	switch latest := sum(r.blocked, w.max, r.late, slack); {
	case !ok:
		return fmt.Errorf("%s: %s, want %s", r.subject(), r.ending(), w.what())
	case w.phase != "" && r.Phase != w.phase:
		return fmt.Errorf("%s: %s, want it in %s", r.Phase, w.met(r), w.phase)
	case r.Elapsed < w.earliest():
		return fmt.Errorf("%s: %s %s too early", r.subject(), w.met(r), digits(w.earliest()-r.Elapsed))
	case w.bounded && r.Elapsed > latest:
		return fmt.Errorf("%s: %s %s too late", r.subject(), w.met(r), digits(r.Elapsed-latest))
	}
	return nil
}

func (w Window) checkBlocked(r Result) error {
	switch {
	case r.Elapsed < w.min:
		return fmt.Errorf("%s: %s after %s, want it %s after %s", r.subject(), r.ending(), digits(r.Elapsed), w.what(), digits(w.min))
	case r.Outcome == Blocked && w.phase != "" && r.Phase == unknownPhase && w.phase != unknownPhase:
		return fmt.Errorf("%s: %s, and its stack does not show whether in %s: it waits for another goroutine; want it without In",
			r.Phase, r.ending(), w.phase)
	case r.Outcome == Blocked && w.phase != "" && r.Phase != w.phase:
		return fmt.Errorf("%s: %s, want it in %s", r.Phase, r.ending(), w.phase)
	case r.Outcome == Blocked && !r.unblocked:
		return fmt.Errorf("%s: still blocked after its context was cancelled and the fixture closed", r.Phase)
	case r.Outcome == Blocked && w.letGo > 0 && !r.letGo:
		return fmt.Errorf("%s: still blocked, and not let go by %v", r.Phase, w.letGo)
	}
	return nil
}

// met names the outcome that is the one wanted, be it at the wrong time.
func (w Window) met(r Result) string {
	if w.target != nil {
		return w.what()
	}
	return r.ending()
}

// choose puts the class that is wanted in front, and reports whether there is one.
func (w Window) choose(r Result) (Result, bool) {
	if w.target != nil {
		if r.Outcome == Blocked || !matches(r.Err, w.target) {
			return r, false
		}
		if w.phase != "" {
			r.Phase = phaseOfMatch(r, w)
		}
		return r, true
	}
	best := -1
	for i, c := range r.Classes {
		if w.outcome.covers(c.Outcome) && (best < 0 || c.Phase == w.phase) {
			best = i
		}
	}
	if best < 0 || r.Outcome == Blocked {
		return r, false
	}
	r.Outcome, r.Phase = r.Classes[best].Outcome, r.Classes[best].Phase
	return r, true
}

// phaseOfMatch is the phase of an error that matches, the one that is wanted if several do. If they
// tell none it is that of the errors beside them.
func phaseOfMatch(r Result, w Window) string {
	phases := matchPhases(r.Err, w.target)
	switch {
	case len(phases) == 0:
		return r.Phase
	case slices.Contains(phases, w.phase):
		return w.phase
	}
	return phases[0]
}
