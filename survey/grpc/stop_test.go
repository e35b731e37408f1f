package grpc_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// Stop "immediately closes all open connections", but waits for those that are shaking hands: for as long as
// ConnectionTimeout gives them, which is 120 s by default. GracefulStop waits for a silent client until keep-alive ends it.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		client  func(target string) hostile.Fixture
		options []grpc.ServerOption
		stop    func(*grpc.Server)
		want    sockettest.Want
	}{
		{"connected only", exam.Says("P"), nil, (*grpc.Server).Stop, sockettest.Accepted.At(120*time.Second - ago)},
		{"connected only, ConnectionTimeout", exam.Says("P"), []grpc.ServerOption{grpc.ConnectionTimeout(10 * time.Second)},
			(*grpc.Server).Stop, sockettest.Accepted.At(10*time.Second - ago)},
		{"settings", exam.Says(hello), nil, (*grpc.Server).Stop, sockettest.Accepted.At(0)},
		{"request", exam.Says(hello + request), nil, (*grpc.Server).Stop, sockettest.Accepted.At(0)},
		{"connected only, gracefully", exam.Says("P"), nil, (*grpc.Server).GracefulStop, sockettest.Accepted.At(120*time.Second - ago)},
		{"settings, gracefully", exam.Says(hello), nil, (*grpc.Server).GracefulStop, sockettest.Accepted.At(6 * time.Second)}, // as for MaxConnectionIdle
		{"request, gracefully", exam.Says(hello + request), nil, (*grpc.Server).GracefulStop,
			sockettest.Accepted.At(2*time.Hour + 20*time.Second - ago)},
		{"request, gracefully, with keep-alive", exam.Says(hello + request),
			[]grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second})},
			(*grpc.Server).GracefulStop, sockettest.Accepted.At(40*time.Second - ago)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				nw := simnet.New(t)
				ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
				require.NoError(t, err)
				srv := serve(t, ln, tt.options...)
				attack := sockettest.Start(t, tt.client(ln.Addr().String()), sockettest.On(nw))
				time.Sleep(ago) // rules:allow in a bubble
				sockettest.Expect(t, attack, tt.want, func() error { tt.stop(srv); return nil })
			})
		})
	}
}

// On the kernel nobody waits for 120 s, but long enough to see that it is not at once.
func TestStopOnTheKernel(t *testing.T) {
	t.Parallel()
	sockettest.NoLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := serve(t, ln)
	attack := sockettest.Start(t, hostile.ConnectOnly{Target: ln.Addr().String()})
	require.NoError(t, attack.Await(t.Context(), fixtures.Received, 1)) // the server's SETTINGS: it has accepted
	sockettest.Expect(t, attack, sockettest.Blocked.For(500*time.Millisecond), func() error { srv.Stop(); return nil })
}

// ago is when the client came, before the server is stopped.
const ago = time.Second
