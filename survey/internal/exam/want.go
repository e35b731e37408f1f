package exam

import (
	"fmt"
	"strings"
	"time"

	"example.com/go-sockettest/sockettest"
)

// An Ending is an outcome, or what [sockettest.ErrorIs] returns.
type Ending interface {
	After(d time.Duration) sockettest.Window
	At(d time.Duration) sockettest.Window
	Before(d time.Duration) sockettest.Window
	AtOnce() sockettest.Window
}

// A Want is an ending, at a time that goes by the client's knob.
type Want struct {
	end    Ending
	limits int           // how many times the limit
	fixed  time.Duration // and so much more, whatever the limit
	never  bool
	phase  string
	later  bool // the limit begins when TLS is established
}

// AtOnce wants the ending without the knob's having any part in it: in virtual time at 0 s exactly, on the kernel long
// before the limit, which is a minute.
func AtOnce(end Ending) Want { return Want{end: end} }

// AtLimit wants the ending when the limit is over: not before, and in virtual time at that very instant.
func AtLimit(end Ending) Want { return Want{end: end, limits: 1} }

// Never wants the client still waiting when the limit is over twice, or several times: no knob of it is in force, or the
// knob is not obeyed. Once would not do: at the limit a knob that is obeyed might be about to end it.
func Never() Want { return Want{never: true} }

// Times wants it after this many limits, as after this many attempts.
func (w Want) Times(n int) Want {
	w.limits = n
	return w
}

// Plus wants it so much later, whatever the limit: a pause of the client's own.
func (w Want) Plus(d time.Duration) Want {
	w.fixed = d
	return w
}

// OnceSecured tells that the limit begins when TLS is established, which the call does as well: on the kernel it may take that
// much longer.
func (w Want) OnceSecured() Want {
	w.later = true
	return w
}

// In wants it in that phase; see [sockettest.Window.In].
func (w Want) In(phase string) Want {
	w.phase = phase
	return w
}

// in is what is wanted in one place.
func (w Want) in(p Place) sockettest.Window {
	d := time.Duration(w.limits)*p.Limit + w.fixed
	var want sockettest.Window
	switch {
	case w.never:
		return sockettest.Blocked.For(max(d, 2*p.Limit))
	case p.Virtual:
		want = w.end.At(d)
	case w.limits != 1 || w.fixed > 0: // timers one after the other: what a machine that stalls takes from each adds up
		want = w.end.After(d).Before(d + prompt)
	case w.later:
		want = w.end.After(d).Before(d + securing)
	default:
		want = w.end.After(d)
	}
	if w.phase != "" {
		want = want.In(w.phase)
	}
	return want
}

// String writes it as the table in README.md does.
func (w Want) String() string {
	switch {
	case w.never && w.limits > 1:
		return fmt.Sprintf("still waiting after %d limits", w.limits)
	case w.never:
		return "waits forever"
	}
	what, _ := strings.CutSuffix(w.end.AtOnce().String(), " at once")
	if w.phase != "" {
		what, _, _ = strings.Cut(what, " in ")
		what += " in " + w.phase
	}
	when := []string{}
	switch w.limits {
	case 0:
	case 1:
		when = append(when, "the limit")
	default:
		when = append(when, fmt.Sprintf("%d limits", w.limits))
	}
	if w.fixed > 0 {
		when = append(when, w.fixed.String())
	}
	if len(when) == 0 {
		return what + ", at once"
	}
	return what + " after " + strings.Join(when, " and ")
}
