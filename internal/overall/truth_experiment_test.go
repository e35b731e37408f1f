package overall_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
)

// An ending is how a call of the client ends.
type ending string

const (
	success ending = "success"
	refusal ending = "refusal"
	timeout ending = "timeout"
	eof     ending = "EOF"
	reset   ending = "reset"
	misfit  ending = "misfit" // an error that no fixture causes
)

var outcomes = map[ending]sockettest.Outcome{
	success: sockettest.Accepted, refusal: sockettest.Rejected, timeout: sockettest.TimedOut,
	eof: sockettest.Closed, reset: sockettest.ResetByPeer,
}

// A family is a fixture, and how a correct client ends at it.
type family struct {
	name    string
	fixture func(limit time.Duration) fixtures.Fixture
	ends    ending
	retried ending // of a client that tries again; empty: as ends
	accepts bool   // the connect succeeds, so TLS and pools make sense
	http    bool
	hangs   bool // the connect does
	fresh   bool // of no use to a client whose connection is older than the call
}

func always(f fixtures.Fixture) func(time.Duration) fixtures.Fixture {
	return func(time.Duration) fixtures.Fixture { return f }
}

var families = []family{
	{name: "echo", fixture: always(fixtures.Echo{}), ends: success, accepts: true},
	{name: "refused", fixture: always(fixtures.Refused{}), ends: refusal},
	{name: "black hole", fixture: always(fixtures.BlackHole{}), ends: timeout, hangs: true},
	{name: "slow handshake", ends: timeout, hangs: true, fixture: func(limit time.Duration) fixtures.Fixture {
		return fixtures.SlowHandshake{Delay: 10 * limit}
	}},
	{name: "silent", fixture: always(fixtures.Silent{}), ends: timeout, accepts: true},
	{name: "drip", ends: timeout, accepts: true, fresh: true, fixture: func(limit time.Duration) fixtures.Fixture {
		return fixtures.Drip{Every: 10 * limit}
	}},
	{name: "close", fixture: always(fixtures.Close{}), ends: eof, accepts: true},
	{name: "truncate", fixture: always(fixtures.Truncate{AfterWritten: 2}), ends: eof, accepts: true},
	{name: "reset", fixture: always(fixtures.Reset{}), ends: reset, accepts: true},
	{name: "reset, then echo", ends: reset, retried: success, accepts: true, fresh: true,
		fixture: always(fixtures.Sequence{fixtures.Reset{}, fixtures.Echo{}})},
	{name: "http", fixture: always(httpfault.OK{}), ends: success, http: true},
	{name: "http, no answer", fixture: always(httpfault.Stall{}), ends: timeout, http: true},
	{name: "http, short body", fixture: always(httpfault.Close{At: httpfault.MidBody}), ends: eof, http: true},
	{name: "http, reset body", fixture: always(httpfault.Reset{At: httpfault.MidBody}), ends: reset, http: true},
}

// A bug is what a client does wrong, at most one thing.
type bug string

const (
	none         bug = "none"
	neverDials   bug = "never dials"
	late         bug = "late"
	early        bug = "early"
	swallows     bug = "wrong outcome" // success for an error, an error for success
	wrongError   bug = "wrong error"
	leaksConn    bug = "leaks its connection"
	leaksRoutine bug = "leaks a goroutine"
	panics       bug = "panics"
	strays       bug = "dials another address"
)

var bugs = []bug{neverDials, late, early, swallows, wrongError, leaksConn, leaksRoutine, panics, strays}

// An old is what a client that never dials does with a connection, or a connect, from before.
type old string

const (
	untouched    old = ""
	closedBefore old = "closed before the call"
	resetBefore  old = "reset before the call"
	closedInCall old = "closed in the call"
	resetInCall  old = "reset in the call"
	givenBefore  old = "a dial given up before the call"
	givenInCall  old = "a dial given up in the call"
)

// A wrapping is what becomes of an error on its way to the caller.
type wrapping string

const (
	plain   wrapping = "bare"
	wrapped wrapping = "wrapped"
	joined  wrapping = "joined"
	typed   wrapping = "typed"
	opaque  wrapping = "opaque" // a sentinel in the place of the cause
)

// errFailed is all that the callers of some clients learn.
var errFailed = errors.New("client: failed")

// errMisfit is what a client with the bug wrongError returns in the place of errFailed.
var errMisfit = errors.New("client: misfit")

type typedError struct{ err error }

func (e *typedError) Error() string { return "client: " + e.err.Error() }
func (e *typedError) Unwrap() error { return e.err }

// An experiment is one random client, its fixture, and what a test would want of it.
type experiment struct {
	seed    uint64
	real    bool // on the kernel
	family  family
	limit   time.Duration
	tls     bool
	pool    bool // the connection is older than the call
	retries int
	wrap    wrapping
	bug     bug
	old     old
}

func (tr experiment) String() string {
	network := "simnet"
	if tr.real {
		network = "kernel"
	}
	return fmt.Sprintf("seed %d on %s: %s, limit %v, tls %t, pool %t, %d retries, %s, bug: %s %s",
		tr.seed, network, tr.family.name, tr.limit, tr.tls, tr.pool, tr.retries, tr.wrap, tr.bug, tr.old)
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// newExperiment draws an experiment. Half of all clients have no bug.
func newExperiment(seed uint64, real bool) experiment {
	r := rand.New(rand.NewPCG(seed, 1))
	tr := experiment{seed: seed, real: real, family: pick(r, families), retries: r.IntN(3), bug: none,
		wrap: pick(r, []wrapping{plain, wrapped, joined, typed, opaque})}
	tr.tls = r.IntN(3) == 0 && tr.family.accepts
	tr.pool = r.IntN(3) == 0 && tr.family.accepts && !tr.family.fresh
	tr.limit = time.Duration(50+r.IntN(100)) * time.Millisecond
	if tr.ends() != timeout || tr.tls {
		tr.limit = 2 * time.Second // of a client that should need none of it
		if tr.ends() == timeout {
			tr.limit = 300 * time.Millisecond // enough for a handshake
		}
	}
	if r.IntN(2) == 0 {
		for tr.bug = pick(r, bugs); !tr.possible(); tr.bug = pick(r, bugs) {
		}
	}
	if tr.bug == neverDials && r.IntN(3) > 0 {
		switch {
		case tr.family.accepts && !tr.family.fresh:
			tr.pool, tr.old = true, pick(r, []old{closedBefore, resetBefore, closedInCall, resetInCall})
		case tr.family.hangs:
			tr.old = pick(r, []old{givenBefore, givenInCall})
		}
	}
	return tr
}

// shown reports whether a client that never dials is found: one that has ended what was there in
// the call may have waited on it before, so that there is a note.
func (tr experiment) shown() bool {
	return tr.old != closedInCall && tr.old != resetInCall && tr.old != givenInCall
}

// possible reports whether the client can have its bug, and whether the doc of Expect claims that
// it is found.
func (tr experiment) possible() bool {
	away := tr.bug == neverDials || tr.bug == strays
	switch {
	case tr.bug == early:
		return tr.ends() == timeout
	case tr.bug == leaksConn:
		return tr.family.accepts // an http.Transport closes what its server has closed
	case away && tr.pool: // it holds a connection to the fixture, and may be waiting on it
		return false
	case tr.bug == neverDials && tr.family.name == "refused" && tr.real: // nothing to see, unless the error names an address
		return tr.wrap != opaque
	case tr.bug == strays:
		return tr.family.name != "refused" || !tr.real || tr.wrap != opaque
	}
	return true
}

// ends is how a correct client ends.
func (tr experiment) ends() ending {
	if tr.retries > 0 && tr.family.retried != "" {
		return tr.family.retried
	}
	return tr.family.ends
}

// window is the end of the window of a client that does not wait for its limit.
const window = 500 * time.Millisecond

// want is what the test of such a client would say.
func (tr experiment) want() sockettest.Want {
	switch {
	case tr.ends() == timeout && tr.wrap == opaque:
		return sockettest.ErrorIs(errFailed).After(tr.limit)
	case tr.ends() == timeout:
		return sockettest.TimedOut.After(tr.limit)
	case tr.ends() != success && tr.wrap == opaque:
		return sockettest.ErrorIs(errFailed).Before(window)
	}
	return outcomes[tr.ends()].Before(window)
}

// latest is when the client returns at the latest on a machine that takes no more than
// sockettest excuses, see Window.Slack.
func (tr experiment) latest() time.Duration {
	end := window
	if tr.ends() == timeout {
		end = tr.limit
	}
	return end + 250*time.Millisecond + 2*time.Second
}

// lateness is how much later than it may a client with that bug returns.
func (tr experiment) lateness() time.Duration {
	if tr.real {
		return 2500 * time.Millisecond // beyond the slack and the 2 s that a busy machine excuses at most, see Window.Slack
	}
	return time.Millisecond
}

// over is fixtures over TLS, if the client speaks it.
func (tr experiment) over() fixtures.Fixture {
	f := tr.family.fixture(tr.limit)
	if tr.tls {
		return tlsfault.OverTLS{Then: f}
	}
	return f
}
