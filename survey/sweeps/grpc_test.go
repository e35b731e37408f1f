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
		cc, err := grpc.NewClient("passthrough:///"+c.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return c.DialContext(ctx, "tcp", addr) }),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second, PermitWithoutStream: true}))
		if err != nil {
			return err
		}
		defer c.Close(cc.Close)
		client := healthpb.NewHealthClient(cc)
		check := func(ctx context.Context) error {
			return within(ctx, func(ctx context.Context) error {
				r, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "x"})
				if err == nil {
					assert.Equal(c, healthpb.HealthCheckResponse_SERVING, r.GetStatus())
				}
				return err
			})
		}
		for range 3 {
			if err = check(ctx); err != nil {
				break
			}
		}
		c.Recovers(check)
		return err
	},
}

func serveGRPC(ln net.Listener) error {
	s := grpc.NewServer()
	h := health.NewServer()
	h.SetServingStatus("x", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s, h)
	return s.Serve(ln)
}
