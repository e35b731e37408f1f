package sockettest

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// defaultSlack is for clients that are late several times in a row, as those that try again are on a busy machine.
const defaultSlack = 250 * time.Millisecond

// slackEnv sets the slack of a whole run: SOCKETTEST_SLACK=1s go test ./...
const slackEnv = "SOCKETTEST_SLACK"

// A Want is an outcome within a window of time. It is made from an [Outcome] or by [Err].
type Want struct {
	outcome Outcome
	target  error // Err: the error to find instead of an outcome
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
	missed  bool          // Unreached was called
	bad     error         // the first argument that cannot be
}

// Err wants an error that matches target (by [errors.Is]), for clients that hide what happened behind an error of their
// own. Without After or Before it may come at any time.
func Err(target error) Want {
	w := Want{target: target}
	if target == nil {
		w.bad = errors.New("Err(nil): want an error to look for; for success use Accepted")
	}
	return w
}

// After requires the outcome no earlier than d, measured exactly on the monotonic clock. [Want.Early] allows less. Unless
// Before is called too, the outcome is late after d plus [Want.Slack].
func (w Want) After(d time.Duration) Want {
	w.refuseNegative("After", d)
	w.min = d
	if !w.bounded {
		w.max = d
	}
	w.bounded = true
	return w
}

// Before requires the outcome no later than d plus [Want.Slack].
func (w Want) Before(d time.Duration) Want {
	w.refuseNegative("Before", d)
	if d < w.min && w.bad == nil {
		w.bad = fmt.Errorf("Before(%v) lies before After(%v); want the end of the window after its beginning", d, w.min)
	}
	w.max, w.bounded = d, true
	return w
}

// At wants it at d exactly, after which there is no slack. Only virtual time is exact, that of a testing/synctest bubble:
// elsewhere it is a bad argument. The operation must run on a network that goes by the same clock, such as simnet's.
func (w Want) At(d time.Duration) Want {
	w.refuseNegative("At", d)
	w.min, w.max, w.bounded, w.exact = d, d, true, true
	w.slack, w.slackOK = 0, true
	return w
}

// Early sets how much earlier than After the outcome may come. The default is 0: Go's timers, and the kernel's, are never
// early. Servers that read the time once per round of their event loop are: nginx counts its timeouts from a cached clock,
// and ends a connection up to 0.3 ms before they are over.
func (w Want) Early(d time.Duration) Want {
	w.refuseNegative("Early", d)
	w.early = d
	return w
}

// In wants it to happen in that phase: "resolve", "bind", "connect", "accept", "handshake", "read", "write" or "close".
func (w Want) In(phase string) Want {
	if !validPhase(phase) && w.bad == nil {
		w.bad = fmt.Errorf("In(%q): want one of %q", phase, phases)
	}
	w.phase = phase
	return w
}

// Slack sets how much later than its window the outcome may come. The default is 250 ms, or the duration in the environment
// variable SOCKETTEST_SLACK. In a testing/synctest bubble it is 0.
//
// On a busy machine more is allowed, by timers that run beside the operation: the sum of the three worst delays,
// as code that waits once is held up when it begins, when it wakes up, and when others learn of it. That is a bound
// on one wait, and does not grow with time. If Slack was not called, all the time that late timers took is allowed, up to 2 s.
//
// It errs both ways. An operation that is late by itself passes if the machine was as late: to find delays of less than two seconds
// on a busy machine, call Slack. With it, an operation that waits many times in a row, as a client that tries again does, fails if
// the machine takes more than slack beyond the three worst delays.
func (w Want) Slack(d time.Duration) Want {
	w.refuseNegative("Slack", d)
	w.slack, w.slackOK, w.strict = d, true, true
	return w
}

// maxExcuse bounds what a machine excuses that is slow all the time.
const maxExcuse = 2 * time.Second

// excused is how much of a delay the machine excuses that was late by all in sum, and by worst at its three worst times.
func (w Want) excused(worst, all time.Duration) time.Duration {
	if w.strict {
		return worst
	}
	return max(worst, min(all, maxExcuse))
}

// Unfired wants the fault not to have come by the end of the test, as for a client that avoids it: one that never uses a connection
// twice never meets an httpfault.CloseOnReuse. Without it, a success against a fault that never came fails the test.
func (w Want) Unfired() Want {
	w.unfired = true
	return w
}

// Unreached wants that nothing of the operation reaches the fixture: no connect, no byte, no query.
// It is for a call that is to be answered without it, from a cache, or by a circuit breaker that is
// open: Err(ErrOpen).Unreached(). Where the kernel does not show whether it was reached, as at
// [fixtures.Refused], Expect says so and fails: use a fixture that listens, or simnet.
func (w Want) Unreached() Want {
	w.missed = true
	return w
}

func (w Want) blockedFor(d time.Duration) Want {
	w.refuseNegative("For", d)
	if w.outcome != Blocked && w.bad == nil {
		w.bad = fmt.Errorf("%s.For(%v): only Blocked lasts for a time; want After or Before", w.outcome, d)
	}
	w.min, w.max, w.bounded = d, d, true
	return w
}

func (w *Want) refuseNegative(method string, d time.Duration) {
	if d < 0 && w.bad == nil {
		w.bad = fmt.Errorf("%s(%v): want 0 or more", method, d)
	}
}

// allowed returns the slack that is in force.
func (w Want) allowed() (time.Duration, error) {
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
func (w Want) check() error {
	if w.bad != nil {
		return w.bad
	}
	if w.outcome == 0 && w.target == nil {
		return errors.New("want is the zero Want; want an outcome such as TimedOut.After(limit)")
	}
	if w.outcome == Blocked && w.min == 0 {
		return errors.New("want is Blocked without a time; want Blocked.For(d) with d more than 0")
	}
	if w.exact && !virtual() {
		return fmt.Errorf("At(%v): real time is never exact; want After(%v), or a testing/synctest bubble", w.max, w.max)
	}
	if w.early > 0 && (w.min == 0 || w.exact || w.outcome == Blocked) {
		return fmt.Errorf("Early(%v) of %q; want it with After, which says what is too early", w.early, w)
	}
	_, err := w.allowed()
	return err
}

// earliest is when the window begins.
func (w Want) earliest() time.Duration { return max(0, w.min-w.early) }

// virtual tells whether the caller is in a testing/synctest bubble: the clock there has no monotonic reading.
func virtual() bool {
	now := time.Now()
	return now == now.Round(0)
}

// String says what is wanted, as failure reports do.
func (w Want) String() string {
	s := w.what()
	if w.phase != "" {
		s += " in " + w.phase
	}
	if w.missed {
		s += " without reaching the fixture"
	}
	return s + w.times()
}

func (w Want) times() string {
	after := digits(w.min)
	if w.early > 0 {
		after += " (or up to " + digits(w.early) + " earlier)"
	}
	switch {
	case w.outcome == Blocked:
		return " after " + after
	case w.exact:
		return " at " + w.max.String() + " exactly"
	case !w.bounded:
		return ""
	case w.min == 0:
		return " before " + digits(w.max)
	case w.max > w.min:
		return " between " + after + " and " + digits(w.max)
	}
	return " after " + after
}

func (w Want) what() string {
	if w.target != nil {
		return fmt.Sprintf("error %q", shorten(errorText(w.target)))
	}
	return w.outcome.of(w.conn)
}
