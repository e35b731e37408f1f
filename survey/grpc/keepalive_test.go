package grpc_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// A client that asks as often as it may is shown the door by a server that has its defaults: EnforcementPolicy.MinTime is
// 5 min, ClientParameters.Time may be 10 s. The third PING is one too many, a second later the connection is closed, and
// what the client waited for is lost, though both sides were well.
func TestServerIsNotToBeAskedTooOften(t *testing.T) {
	t.Parallel()
	alone(t, server{}, time.Minute, func(t *testing.T, p exam.Place) {
		c := client(t, p, alive(10*time.Second, 20*time.Second))
		watch, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = watch.Recv() // the state as it is; then only news would come
		require.NoError(t, err)
		sockettest.Expect(t, p, sockettest.ErrorIs(unavailable).At(31*time.Second), func() error {
			_, err := watch.Recv()
			assert.ErrorContains(t, err, "too_many_pings")
			return coded(err)
		})
	})
}

// With keep-alive the client sets TCP_USER_TIMEOUT to ClientParameters.Timeout, so that on Linux a call on a connection that
// was cut ends much earlier than its PING could tell, 10 s later.
func TestUserTimeout(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("grpc-go sets TCP_USER_TIMEOUT on Linux only")
	}
	t.Parallel()
	sockettest.NoLeaks(t)
	p := exam.Place{Endpoint: sockettest.Start(t, server{}), Limit: time.Minute}
	const timeout = 300 * time.Millisecond
	c := client(t, p, alive(10*time.Second, timeout))
	_, err := c.Check(t.Context(), nil)
	require.NoError(t, err)
	p.Conns()[0].Partition()
	sockettest.Expect(t, p, sockettest.ErrorIs(unavailable).After(timeout).Before(5*time.Second), func(ctx context.Context) error {
		_, err := c.Check(ctx, nil)
		return coded(err)
	})
}

// Where the client's write blocks, whatever ends the connection first waits 5 s for a GOAWAY to be written, which cannot be:
// keep-alive, and Close of the client.
func TestWriteThatBlocks(t *testing.T) {
	t.Parallel()
	const patience = 5 * time.Second // of grpc-go, for the GOAWAY
	alone(t, stuffed, 30*time.Second, func(t *testing.T, p exam.Place) {
		c := client(t, p, alive(10*time.Second, p.Limit))
		sockettest.Expect(t, p, sockettest.ErrorIs(unavailable).At(10*time.Second+p.Limit+patience), func(ctx context.Context) error {
			_, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: strings.Repeat("x", 16<<20)})
			return coded(err)
		})
	})
	alone(t, stuffed, 30*time.Second, func(t *testing.T, p exam.Place) {
		cc := clientConn(t, p)
		sockettest.Expect(t, p, sockettest.ErrorIs(exceeded).At(p.Limit), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			_, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{Service: strings.Repeat("x", 16<<20)})
			return coded(err)
		})
		sockettest.Expect(t, p, sockettest.Accepted.At(patience), cc.Close)
	})
}
