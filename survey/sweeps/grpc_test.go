package sweeps

import (
	"context"
	"net"
	"time"

	"github.com/stretchr/testify/assert"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"example.com/go-sockettest/sweep"
)

var grpcClient = subject{
	name: "grpc", module: "google.golang.org/grpc",
	does: "three calls, with keepalive; it connects again by itself; without fin, which may flood (FINDINGS.md, grpc 9)",
	cfg:  sweep.Config{Server: serveGRPC, Limit: 16 * time.Second, Faults: without("fin")},
	op: func(ctx context.Context, c *sweep.Case) error {
		cc, err := dialGRPC(c)
		if err != nil {
			return err
		}
		defer c.Close(cc.Close)
		err = check(ctx, c, cc, 3)
		c.Recovers(func(ctx context.Context) error { return check(ctx, c, cc, 1) })
		return err
	},
}

func dialGRPC(c *sweep.Case) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+c.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return c.DialContext(ctx, "tcp", addr) }),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second, PermitWithoutStream: true}))
}

// check makes calls.
func check(ctx context.Context, c *sweep.Case, cc *grpc.ClientConn, n int) (err error) {
	for ; n > 0 && err == nil; n-- {
		err = within(ctx, func(ctx context.Context) error {
			r, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{Service: "x"})
			if err == nil {
				assert.Equal(c, healthpb.HealthCheckResponse_SERVING, r.GetStatus())
			}
			return err
		})
	}
	return err
}

func serveGRPC(ln net.Listener) error {
	s := grpc.NewServer(grpc.ConnectionTimeout(30*time.Second), grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	h := health.NewServer()
	h.SetServingStatus("x", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s, h)
	return s.Serve(ln)
}
