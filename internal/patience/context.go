package patience

import (
	"context"
	"time"
)

// Context returns a ctx that ends with [context.DeadlineExceeded] once limit has passed, counted as
// [Wait] counts it: a machine that stalls stretches it. The function that it returns is to be
// called when it is no longer needed, and leaves no goroutine behind.
func Context(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	inner, end := context.WithCancelCause(ctx)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		tick := time.NewTimer(limit / ticks)
		defer tick.Stop()
		for range ticks {
			select {
			case <-inner.Done():
				return
			case <-tick.C:
				QueueUp()
				tick.Reset(limit / ticks)
			}
		}
		end(context.DeadlineExceeded)
	}()
	return limited{inner}, func() {
		end(context.Canceled)
		<-counted
	}
}

// A limited context says that it was its limit that ended it, where it was.
type limited struct{ context.Context }

// Err implements [context.Context].
func (c limited) Err() error {
	if c.Context.Err() != nil && context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}
