package sockettest

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// defaultSlack is four times the worst lateness that was seen of correct clients under any load.
const defaultSlack = 250 * time.Millisecond

// slackEnv sets the slack of a whole run: SOCKETTEST_SLACK=1s go test ./...
const slackEnv = "SOCKETTEST_SLACK"

// A Want is an outcome within a window of time. It is made from an [Outcome] or by [Err].
type Want struct {
	outcome Outcome
	target  error // Err: the error to find instead of an outcome
	phase   string
	min     time.Duration
	max     time.Duration // the end of the window, without slack
	bounded bool          // a method has set max
	slack   time.Duration // negative: the default
	slackOK bool          // Slack was called
	conn    bool          // it is about a connection: ExpectEnd
	exact   bool          // At was called
	unfired bool          // Unfired was called
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

// After wants it not before d: no grace, by the monotonic clock. Unless Before is called too, it is late after d plus
// slack, counted from when a timer of d that was started with the operation fires.
func (w Want) After(d time.Duration) Want {
	w.refuseNegative("After", d)
	w.min = d
	if !w.bounded {
		w.max = d
	}
	w.bounded = true
	return w
}

// Before wants it no later than d plus slack, counted as for After.
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

// In wants it to happen in that phase: "resolve", "bind", "connect", "accept", "handshake", "read", "write" or "close".
func (w Want) In(phase string) Want {
	if !validPhase(phase) && w.bad == nil {
		w.bad = fmt.Errorf("In(%q): want one of %q", phase, phases)
	}
	w.phase = phase
	return w
}

// Slack sets how much later than the window the operation may return, beyond what the reference timer lost. The default
// is 250 ms, or the duration in the environment variable SOCKETTEST_SLACK; in a testing/synctest bubble it is 0.
func (w Want) Slack(d time.Duration) Want {
	w.refuseNegative("Slack", d)
	w.slack, w.slackOK = d, true
	return w
}

// Unfired wants the fault not to have come by the end of the test, as for a client that avoids it: one that never uses a connection
// twice never meets an httpfault.CloseOnReuse. Without it, a success against a fault that never came fails the test.
func (w Want) Unfired() Want {
	w.unfired = true
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
	_, err := w.allowed()
	return err
}

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
	switch {
	case w.outcome == Blocked:
		return s + " after " + digits(w.min)
	case w.exact:
		return s + " at " + w.max.String() + " exactly"
	case !w.bounded:
		return s
	case w.min == 0:
		return s + " before " + digits(w.max)
	case w.max > w.min:
		return s + " between " + digits(w.min) + " and " + digits(w.max)
	}
	return s + " after " + digits(w.min)
}

func (w Want) what() string {
	if w.target != nil {
		return fmt.Sprintf("error %q", w.target)
	}
	return w.outcome.of(w.conn)
}
