//go:build !linux

package rawsock

import (
	"context"
	"time"

	"example.com/go-sockettest/internal/patience"
)

func sleepUntil(ctx context.Context, t time.Time) error { return patience.SleepUntil(ctx, t) }
