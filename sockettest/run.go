package sockettest

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A run is one operation that goes on in a goroutine of its own, beside its reference timer.
type run struct {
	start  time.Time
	at     time.Duration // when the reference timer is to fire
	ref    *time.Timer
	fired  atomic.Int64 // when it did, since start; 0 if it has not
	cancel context.CancelFunc
	done   chan ending // of capacity 1: the operation's goroutine never waits
}

// An ending is what the operation's goroutine has to say.
type ending struct {
	elapsed time.Duration
	err     error
}

// start takes the time before anything that could start the other side's clock.
func start(ctx context.Context, w Want, op func(context.Context) error) *run {
	r := &run{done: make(chan ending, 1), at: w.max}
	ctx, r.cancel = context.WithCancel(ctx)
	r.start = time.Now()
	if w.bounded {
		r.ref = time.AfterFunc(r.at, func() { r.fired.Store(int64(time.Since(r.start))) })
	}
	go r.call(ctx, op)
	return r
}

// call also reports a panic and runtime.Goexit: a t.FailNow inside must not look like a hang.
func (r *run) call(ctx context.Context, op func(context.Context) error) {
	end := ending{err: errExited}
	defer func() {
		if v := recover(); v != nil {
			end.err = &panicError{value: v, stack: string(debug.Stack())}
		}
		if end.elapsed == 0 {
			end.elapsed = time.Since(r.start)
		}
		r.done <- end
	}()
	err := op(ctx)
	end.elapsed = time.Since(r.start)
	end.err = err
}

// end frees what the run holds.
func (r *run) end() {
	r.cancel()
	if r.ref != nil {
		r.ref.Stop()
	}
}

// result classifies the ending.
func (r *run) result(e ending) Result {
	res := Result{Elapsed: e.elapsed, Err: e.err, Classes: Classify(e.err), late: r.late(e.elapsed)}
	res.Outcome, res.Phase = res.Classes[0].Outcome, res.Classes[0].Phase
	return res
}

// late is what the reference timer lost. If it has not fired though its time had passed when the operation returned, it
// has lost at least as much as the operation.
func (r *run) late(elapsed time.Duration) time.Duration {
	if r.ref == nil || elapsed <= r.at {
		return 0
	}
	fired := time.Duration(r.fired.Load())
	if fired == 0 {
		fired = elapsed
	}
	return max(0, fired-r.at)
}
