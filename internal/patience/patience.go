// Package patience waits for goroutines to end, up to a limit that a busy machine stretches. It
// imports nothing of the project.
package patience

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// ticks is how many parts a limit is waited for in.
const ticks = 20

// Wait waits for wg up to limit, and reports whether it is done. It counts the limit in ticks. For
// each the scheduler must find time, as it must for the goroutines that are waited for, and each
// lets all that is ready run: on a machine that stalls both take longer, and nobody is blamed. In a
// goroutine that wg itself waits for, Wait does not wait: see [Inside].
func Wait(wg *sync.WaitGroup, limit time.Duration) bool {
	if Inside() {
		return true
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return endsWithin(done, limit)
}

// endsWithin reports whether done is closed before limit has passed.
func endsWithin(done <-chan struct{}, limit time.Duration) bool {
	tick := time.NewTimer(limit / ticks)
	defer tick.Stop()
	for range ticks {
		select {
		case <-done:
			return true
		case <-tick.C:
			QueueUp()
			tick.Reset(limit / ticks)
		}
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// QueueUp lets all goroutines that are ready run first. A timer's goroutine runs before those that
// have queued for longer: among a thousand of them it could count its ticks before the one that it
// waits for has had a turn. A queue holds 256, and one turn in 61 goes to those that yield
// (runtime/proc.go), so this is more than one turn for each.
func QueueUp() {
	for range 8 {
		runtime.Gosched()
	}
}

// SleepUntil waits until t, by Go's own timer, or until ctx is done: then it returns ctx's cause.
func SleepUntil(ctx context.Context, t time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// After calls f in a goroutine of wg, as [Go] does, once d has passed, unless ctx is done before.
func After(ctx context.Context, wg *sync.WaitGroup, d time.Duration, f func()) {
	at := time.Now().Add(d)
	Go(wg, func() {
		if SleepUntil(ctx, at) == nil {
			f()
		}
	})
}

// A Retry is what waits between attempts at something that fails for a while. The zero value is
// ready to use.
type Retry struct{ last time.Duration }

// Next returns the pause before the next attempt: 5 ms, then twice the one before, up to 1 s.
func (r *Retry) Next() time.Duration {
	r.last = min(max(5*time.Millisecond, 2*r.last), time.Second)
	return r.last
}

// Context returns a ctx that ends with [context.DeadlineExceeded] once limit has passed, counted as
// [Wait] counts it: a machine that stalls stretches it. Call the function that it returns when ctx
// is no longer needed; it leaves no goroutine behind.
func Context(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	inner, end := context.WithCancelCause(ctx)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		if !endsWithin(inner.Done(), limit) {
			end(context.DeadlineExceeded)
		}
	}()
	return limited{inner}, func() {
		end(context.Canceled)
		<-counted
	}
}

// A limited context says so if its limit ended it.
type limited struct{ context.Context }

// Err implements [context.Context].
func (c limited) Err() error {
	if c.Context.Err() != nil && context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// Go is wg.Go for a function that may call [Wait] for the same wg: see [Inside].
func Go(wg *sync.WaitGroup, f func()) { wg.Go(func() { call(f) }) }

// call is what [Inside] looks for.
//
//go:noinline
func call(f func()) { f() }

// callPC is where f returns to in call, as [runtime.Callers] has it: to compare it takes no names.
var callPC = func() uintptr {
	pc := make([]uintptr, 1)
	call(func() { runtime.Callers(2, pc) })
	return pc[0]
}()

// Inside reports whether the caller runs in a function that [Go] has started, for any wg: by
// waiting it could wait for itself.
func Inside() bool {
	var pcs [64]uintptr
	for skip := 1; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if slices.Contains(pcs[:n], callPC) {
			return true
		}
		if n < len(pcs) {
			return false
		}
	}
}
