package grpc_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// GracefulStop for a while and then Stop ends with every client, if ConnectionTimeout is set, which is what Stop waits for.
func TestShutdown(t *testing.T) {
	t.Parallel()
	const connecting = 5 * time.Second
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		sockettest.Shutdown(t, sockettest.Server{Limit: connecting + time.Second, H2: true, Request: hello,
			Serve: func(t testing.TB, ln net.Listener) func(context.Context) error {
				srv := serve(t, ln, grpc.ConnectionTimeout(connecting))
				return func(context.Context) error {
					defer time.AfterFunc(time.Second, srv.Stop).Stop()
					srv.GracefulStop()
					return nil
				}
			},
		}, sockettest.On(simnet.New(t)))
	})
}
