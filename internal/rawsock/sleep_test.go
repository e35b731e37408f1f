package rawsock

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/patience"
)

func TestSleepUntilIsNeverEarly(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{-time.Hour, 0, 1, time.Microsecond, time.Millisecond, 7 * time.Millisecond} {
		for range 10 {
			due := time.Now().Add(d)
			require.NoError(t, sleepUntil(t.Context(), due))
			assert.False(t, time.Now().Before(due), "%v", d)
		}
	}
}

func TestSleepUntilEndsWithItsContext(t *testing.T) {
	t.Parallel()
	why := errors.New("the endpoint closes")
	ctx, cancel := context.WithCancelCause(t.Context())
	got := make(chan error, 1)
	go func() { got <- sleepUntil(ctx, time.Now().Add(time.Hour)) }()
	cancel(why)
	require.ErrorIs(t, <-got, why)
	require.ErrorIs(t, sleepUntil(ctx, time.Now().Add(-time.Hour)), why)
}

// BenchmarkSchedule shows how late waits on a schedule of 10 ms end.
func BenchmarkSchedule(b *testing.B) {
	for _, bb := range []struct {
		name  string
		sleep func(context.Context, time.Time) error
	}{
		{"SleepUntil", sleepUntil},
		{"time.Timer", patience.SleepUntil},
		{"time.Sleep", func(_ context.Context, t time.Time) error {
			time.Sleep(time.Until(t)) // rules:allow it is what is measured
			return nil
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var late []time.Duration
			due := time.Now()
			for b.Loop() {
				due = due.Add(10 * time.Millisecond)
				require.NoError(b, bb.sleep(b.Context(), due))
				late = append(late, time.Since(due))
			}
			reportLateness(b, late)
		})
	}
}

// reportLateness fails if anything was early.
func reportLateness(b *testing.B, late []time.Duration) {
	b.Helper()
	slices.Sort(late)
	require.GreaterOrEqual(b, late[0], time.Duration(0), "early")
	for name, i := range map[string]int{"p50-us": len(late) / 2, "p99-us": len(late) * 99 / 100, "max-us": len(late) - 1} {
		b.ReportMetric(float64(late[i].Microseconds()), name)
	}
}
