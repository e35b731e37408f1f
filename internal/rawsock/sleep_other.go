//go:build !linux

package rawsock

import (
	"context"
	"time"
)

func sleepUntil(ctx context.Context, t time.Time) error { return sleepByTimer(ctx, t) }
