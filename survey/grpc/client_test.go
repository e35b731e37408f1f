// Package grpc_test holds google.golang.org/grpc to its timeouts, as a client and as a server.
package grpc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestMain(m *testing.M) {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) // it logs what the tests want
	sockettest.Main(m)
}

// A code is a status code as an error: a status hides what happened on the connection, and sockettest.Err wants a target.
type code codes.Code

func (c code) Error() string { return "code " + codes.Code(c).String() }

const (
	unavailable = code(codes.Unavailable)
	exceeded    = code(codes.DeadlineExceeded)
)

// coded puts the code beside an error of a call.
func coded(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", code(status.Code(err)), err)
}

func TestClient(t *testing.T) {
	t.Parallel()
	const connecting = "ConnectParams.MinConnectTimeout (default 20s), or the backoff to come if that is longer"
	const alives = "ClientParameters.Time (default none) and Timeout (default 20s)"
	const tenSeconds = "its Time is 10 s at least"
	exam.Run(t, exam.Client{Name: "grpc-go", Module: "google.golang.org/grpc", Peer: exam.Honest(server{})}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: "none needed", Op: check(),
			Want: exam.AtOnce(sockettest.ErrorIs(unavailable))},
		{Name: exam.Refused + ", WaitForReady", Fixture: fixtures.Refused{}, Knob: "the context", Op: within(check(grpc.WaitForReady(true))),
			Want: exam.AtLimit(sockettest.ErrorIs(exceeded))},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: connecting, Op: check(),
			Want: exam.AtLimit(sockettest.ErrorIs(unavailable))},
		{Name: exam.BlackHoled + ", with a deadline", Fixture: fixtures.BlackHole{}, Knob: "the context", Op: within(patiently(check())),
			Want: exam.AtLimit(sockettest.ErrorIs(exceeded))},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: connecting, Op: check(),
			Want: exam.AtLimit(sockettest.ErrorIs(unavailable))},
		{Name: exam.ResetMidway, Fixture: midway, Knob: "none needed", Op: check(), Want: exam.AtOnce(sockettest.ErrorIs(unavailable))},
		{Name: exam.WentSilent, Fixture: established, Knob: "none", Op: patiently(check()), Want: exam.Never()},
		{Name: exam.WentSilent + ", with a deadline", Fixture: established, Knob: "the context", Op: within(patiently(check())),
			Want: exam.AtLimit(sockettest.ErrorIs(exceeded))},
		{Name: exam.WentSilent + ", with keep-alive", Fixture: established, Knob: alives, SimnetOnly: tenSeconds,
			Op: checkAlive(10 * time.Second), Want: exam.AtLimit(sockettest.ErrorIs(unavailable)).Plus(10 * time.Second)},
		{Name: exam.WentSilent + ", with keep-alive every second", Fixture: established, Knob: "ClientParameters.Time, which is 10 s at least",
			SimnetOnly: tenSeconds, Op: checkAlive(time.Second), Want: exam.AtLimit(sockettest.ErrorIs(unavailable)).Plus(10 * time.Second)},
		{Name: "cut, with keep-alive", Fixture: server{}, Knob: alives, SimnetOnly: tenSeconds,
			Op: checkCut(10 * time.Second), Want: exam.AtLimit(sockettest.ErrorIs(unavailable)).Plus(10 * time.Second)},
	})
}

// client makes a client of the fixture, which has connected to nothing yet, and closes it.
func client(t testing.TB, p exam.Place, options ...grpc.DialOption) healthpb.HealthClient {
	t.Helper()
	cc := clientConn(t, p, options...)
	t.Cleanup(func() { assert.NoError(t, cc.Close()) })
	return healthpb.NewHealthClient(cc)
}

// clientConn is what has to be closed of it.
func clientConn(t testing.TB, p exam.Place, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	params := grpc.ConnectParams{MinConnectTimeout: p.Limit, Backoff: backoff.DefaultConfig}
	params.Backoff.BaseDelay, params.Backoff.Jitter = p.Limit/10, 0
	cc, err := grpc.NewClient("passthrough:///"+p.Addr(), append([]grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return p.DialContext(ctx, "tcp", addr) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(params)}, options...)...)
	require.NoError(t, err)
	return cc
}

type op = func(testing.TB, exam.Place) func(context.Context) error

// check is one call, by a new client.
func check(options ...grpc.CallOption) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := client(t, p)
		return func(ctx context.Context) error {
			_, err := c.Check(ctx, nil, options...)
			return coded(err)
		}
	}
}

// patiently is a call of a client that takes a hundred limits for a connect.
func patiently(do op) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		p.Limit *= 100
		return do(t, p)
	}
}

// within bounds a call by its context.
func within(do op) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		call := do(t, p)
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			return call(ctx)
		}
	}
}

// checkAlive is one call of a client whose PINGs go out every so often, and wait for the limit.
func checkAlive(every time.Duration) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := client(t, p, alive(every, p.Limit))
		return func(ctx context.Context) error {
			_, err := c.Check(ctx, nil)
			return coded(err)
		}
	}
}

// checkCut is the second call, on a connection that was cut after the first.
func checkCut(every time.Duration) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := client(t, p, alive(every, p.Limit))
		_, err := c.Check(t.Context(), nil)
		require.NoError(t, err, "before the connection is cut")
		p.Conns()[0].Partition()
		return func(ctx context.Context) error {
			_, err := c.Check(ctx, nil)
			return coded(err)
		}
	}
}

func alive(every, timeout time.Duration) grpc.DialOption {
	return grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: every, Timeout: timeout})
}
