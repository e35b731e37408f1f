package sockettest

import (
	"context"
	"runtime/debug"
	"time"

	"example.com/go-sockettest/internal/reference"
)

// A run is one operation that goes on in a goroutine of its own, beside the reference timer.
type run struct {
	start  time.Time
	want   Window
	ref    reference.Watch
	cancel context.CancelFunc
	done   chan ending // of capacity 1: the operation's goroutine never waits

	released error // what the operation returned after it was given up
}

// An ending is what the operation's goroutine has to say.
type ending struct {
	elapsed time.Duration
	late    time.Duration // how much of a delay the machine excuses
	err     error
}

// start takes the time before anything that could start the other side's clock.
func start(ctx context.Context, w Window, op func(context.Context) error) *run {
	r := &run{want: w, done: make(chan ending, 1)}
	ctx, r.cancel = context.WithCancel(ctx)
	if w.bounded {
		r.ref.Begin(w.max)
	}
	r.start = time.Now()
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
		end.late = r.late(end.elapsed)
		r.done <- end
	}()
	err := op(ctx)
	end.elapsed = time.Since(r.start)
	end.err = err
}

// late is how much later than its window the operation may be because of the machine.
func (r *run) late(elapsed time.Duration) time.Duration {
	if elapsed <= r.want.max {
		return 0
	}
	return r.want.excused(r.ref.Late(r.start, r.start.Add(elapsed)))
}

// end frees what the run holds.
func (r *run) end() {
	r.cancel()
	r.ref.End()
}

// exited reports whether an operation did not return by itself: it panicked, or called
// runtime.Goexit.
func exited(err error) bool {
	_, panicked := err.(*panicError)
	return panicked || err == errExited
}

// result classifies the ending.
func (r *run) result(e ending) Result {
	res := Result{Elapsed: e.elapsed, Err: e.err, Classes: Classify(e.err), late: e.late}
	res.Outcome, res.Phase = res.Classes[0].Outcome, res.Classes[0].Phase
	return res
}
