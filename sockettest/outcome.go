package sockettest

import (
	"slices"
	"time"
)

// An Outcome is how an operation on a socket ended. Most expectations begin with one: TimedOut.After(limit).
type Outcome int

// The outcomes. The first three are the ways in which opening a socket ends.
const (
	Accepted    Outcome = iota + 1 // no error
	Rejected                       // refused, be it a TLS handshake, or asked for in a way that cannot work (a malformed address)
	TimedOut                       // a deadline, a context or the kernel put an end to waiting
	Closed                         // the other side closed: EOF
	Reset                          // the other side reset: ECONNRESET, EPIPE
	Dropped                        // Closed or Reset, for where the kernel chooses
	Canceled                       // the caller's own side gave up: a context was cancelled, its socket closed
	Unreachable                    // no way to the host or its network
	NotFound                       // the name has no address
	Exhausted                      // no descriptors, no ports, no room in a queue
	Blocked                        // it has not returned
	Other                          // none of these can be told from the error: unclassified
)

var outcomeNames = [...]string{
	Accepted: "accepted", Rejected: "rejected", TimedOut: "timed out", Closed: "closed", Reset: "reset",
	Dropped: "dropped", Canceled: "canceled", Unreachable: "unreachable", NotFound: "not found",
	Exhausted: "exhausted", Blocked: "still blocked", Other: "unclassified",
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

// After wants the outcome not before d, and no later than d plus [Want.Slack].
func (o Outcome) After(d time.Duration) Want { return Want{outcome: o}.After(d) }

// Before wants the outcome no later than d plus [Want.Slack].
func (o Outcome) Before(d time.Duration) Want { return Want{outcome: o}.Before(d) }

// At wants the outcome at d exactly, in virtual time; see [Want.At].
func (o Outcome) At(d time.Duration) Want { return Want{outcome: o}.At(d) }

// Unreached wants the outcome, at any time, without anything reaching the fixture; see
// [Want.Unreached].
func (o Outcome) Unreached() Want { return Want{outcome: o}.Unreached() }

// For wants the operation still blocked after d; it goes with [Blocked] only. The harness then releases the operation:
// it cancels its context and, if that is not enough, closes the fixture, and waits for it to return. To [ExpectEnd] it is
// a connection that is still open after d, and stays so.
func (o Outcome) For(d time.Duration) Want { return Want{outcome: o}.blockedFor(d) }

// covers tells whether an operation that ended in got satisfies one that wants o.
func (o Outcome) covers(got Outcome) bool {
	return o == got || o == Dropped && (got == Closed || got == Reset)
}

// A Class is what can be told from an error.
type Class struct {
	Outcome Outcome
	Phase   string // "resolve", "bind", "connect", "accept", "handshake", "read", "write", "close", or "call" if unknown
	Source  string // of TimedOut: "deadline", "context", or "kernel" for its own ETIMEDOUT; else empty
}

// phases are what a Want may name.
var phases = []string{"resolve", "bind", "connect", "accept", "handshake", "read", "write", "close", unknownPhase}

const unknownPhase = "call"

func validPhase(p string) bool { return slices.Contains(phases, p) }
