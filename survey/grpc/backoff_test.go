package grpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// alone runs f in a bubble, with a fixture on simnet.
func alone(t *testing.T, f fixtures.Fixture, limit time.Duration, do func(t *testing.T, p exam.Place)) {
	t.Helper()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		do(t, exam.Place{Endpoint: sockettest.Start(t, f, sockettest.On(simnet.New(t))), Virtual: true, Limit: limit})
	})
}

// exactly is the backoff as it comes, 1 s and 1.6 times as much each time up to 120 s, without its jitter of 20 %.
func exactly() grpc.DialOption {
	params := grpc.ConnectParams{MinConnectTimeout: 20 * time.Second, Backoff: backoff.DefaultConfig}
	params.Backoff.Jitter = 0
	return grpc.WithConnectParams(params)
}

// A server that is down for 40 s is back when the eighth attempt comes: after 1, 1.6, 2.56 ... 16.77 s.
func TestServerComesBack(t *testing.T) {
	t.Parallel()
	alone(t, fixtures.Refused{}, time.Minute, func(t *testing.T, p exam.Place) {
		back := time.AfterFunc(40*time.Second, func() { assert.NoError(t, p.Become(server{})) })
		defer back.Stop()
		c := client(t, p, exactly())
		sockettest.Expect(t, p, sockettest.Accepted.At(43_072_576*time.Microsecond), func(ctx context.Context) error {
			_, err := c.Check(ctx, nil, grpc.WaitForReady(true))
			return err
		})
		assert.Len(t, p.Conns(), 1)
	})
}

// Where nothing answers, an attempt lasts for 20 s, and the backoff begins when it is over: gRPC's specification has it
// begin with the attempt (connection-backoff.md), so that the next one would follow at once.
func TestBackoffBeginsWhenTheAttemptIsOver(t *testing.T) {
	t.Parallel()
	alone(t, fixtures.Silent{}, time.Minute, func(t *testing.T, p exam.Place) {
		c := client(t, p, exactly())
		sockettest.Expect(t, p, sockettest.ErrorIs(exceeded).At(100*time.Second), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Second)
			defer cancel()
			_, err := c.Check(ctx, nil, grpc.WaitForReady(true))
			return coded(err)
		})
		var opened []time.Duration
		for _, conn := range p.Conns() {
			opened = append(opened, conn.Opened())
		}
		assert.Equal(t, []time.Duration{0, 21 * time.Second, 42600 * time.Millisecond, 65160 * time.Millisecond, 89256 * time.Millisecond}, opened)
	})
}

// An attempt lasts for as long as the backoff that is to follow it, once that is longer than MinConnectTimeout.
func TestConnectTimeoutGrowsWithTheBackoff(t *testing.T) {
	t.Parallel()
	alone(t, fixtures.Silent{}, time.Minute, func(t *testing.T, p exam.Place) {
		params := grpc.ConnectParams{MinConnectTimeout: 5 * time.Second, Backoff: backoff.Config{BaseDelay: 30 * time.Second, Multiplier: 2, MaxDelay: time.Hour}}
		c := client(t, p, grpc.WithConnectParams(params))
		check := func(ctx context.Context) error {
			_, err := c.Check(ctx, nil)
			return coded(err)
		}
		sockettest.Expect(t, p, sockettest.ErrorIs(unavailable).At(30*time.Second), check)
		sockettest.Expect(t, p, sockettest.ErrorIs(unavailable).At(0).Unreached(), check) // while it waits it fails at once
		require.Len(t, p.Conns(), 1)
	})
}
