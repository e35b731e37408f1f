package patience

import (
	"context"
	"time"
)

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
