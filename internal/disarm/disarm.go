// Package disarm reports whether this is a disarmed run, in which fixtures that behave stand in for
// those that do not, and finds what stands in.
package disarm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// Env is the environment variable that asks for a disarmed run: SOCKETTEST_DISARM=1 go test ./...
const Env = "SOCKETTEST_DISARM"

// On reports whether the run is disarmed. A value that Check refuses means no.
func On() bool {
	on, _ := value()
	return on
}

// Check returns an error if the variable is neither empty nor a boolean.
func Check() error {
	_, err := value()
	return err
}

func value() (bool, error) {
	s := os.Getenv(Env)
	if s == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("environment variable %s is %q; want 1, or 0 or nothing", Env, s)
	}
	return on, nil
}

// layers is how many fixtures may stand in for one another.
const layers = 64

// StandIn plans f. In a disarmed run it goes on to what stands in for f, and for that, until one
// behaves or names nothing. says reads both from a plan. Disarmed is true if the fixture that is
// returned behaves, or stands in for f.
func StandIn[F, P any](f F, plan func(F) (P, error), says func(P) (instead F, behaves bool)) (standIn F, p P, disarmed bool, err error) {
	p, err = plan(f)
	if err != nil || !On() {
		return f, p, false, err
	}
	standIn = f
	for range layers {
		instead, behaves := says(p)
		if behaves || any(instead) == nil {
			return standIn, p, disarmed || behaves, nil
		}
		standIn, disarmed = instead, true
		if p, err = plan(instead); err != nil {
			return f, p, false, fmt.Errorf("Plan.Instead of %T: %w", f, err)
		}
	}
	return f, p, false, fmt.Errorf("%T: Plan.Instead leads in a circle; want a fixture whose Plan has Behaves at its end", f)
}

// ErrNever is the error of waiting for an event that does not come, since the fault brings it.
var ErrNever = errors.New("disarmed: without the fault it does not come")

// Patience is how long an event is waited for that may come without the fault.
const Patience = 10 * time.Second

// Await calls await. If the fixture is disarmed, that has a context which ends after Patience, or
// at once if only the fault brings the event. Then fail is told, unless it is nil: in a test it
// does not return.
func Await(ctx context.Context, disarmed, onlyFault bool, fail func(error), await func(context.Context) error) error {
	if !disarmed {
		return await(ctx)
	}
	patience := Patience
	if onlyFault {
		patience = 0
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrNever)
	defer cancel()
	err := await(ctx)
	if errors.Is(err, ErrNever) && fail != nil {
		fail(err)
	}
	return err
}

// A Fate is what becomes of the faults of a running fixture.
type Fate struct {
	Run    bool        // the run is disarmed
	Spared atomic.Bool // a fixture that behaves runs: by itself, or in place of another
	Faulty atomic.Bool // one that misbehaves has run
	Fired  atomic.Bool // its fault has come
}

// Follow notes that another fixture runs.
func (f *Fate) Follow(spared, behaves bool) {
	f.Spared.Store(spared)
	if !behaves {
		f.Faulty.Store(true)
	}
}

// Over reports whether there is nothing to wait for: the fault has come, or there is none.
func (f *Fate) Over() bool { return !f.Faulty.Load() || f.Fired.Load() }

// Disarmed reports whether no fault can come.
func (f *Fate) Disarmed() bool { return f.Run && f.Spared.Load() }

// A Tally says whether the kernel may have refused somebody since a moment. It shows no connect or
// datagram that it refuses, but counts all of them. The zero value says that it may have.
type Tally struct {
	count func() (uint64, error)
	begin uint64
}

// NewTally begins to count.
func NewTally(count func() (uint64, error)) Tally {
	n, err := count()
	if err != nil {
		return Tally{}
	}
	return Tally{count, n}
}

// Grown reports whether somebody may have been refused: somebody was, here or elsewhere.
func (t Tally) Grown() bool {
	if t.count == nil {
		return true
	}
	n, err := t.count()
	return err != nil || n != t.begin
}

// InPlace says what stands in for a fixture, if anything does.
func (f *Fate) InPlace(describe func(any) string, own, standIn any) string {
	if !f.Run {
		return ""
	}
	if a, b := describe(own), describe(standIn); a != b {
		return "; disarmed: " + b + " stands in for " + a
	}
	return ""
}
