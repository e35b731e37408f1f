package grpc_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"example.com/go-sockettest/examples/internal/exam"
	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
)

func TestClientOverTLS(t *testing.T) {
	t.Parallel()
	const connecting = "ConnectParams.MinConnectTimeout (default 20s), or the backoff to come if that is longer"
	stalled := tlsfault.Stall{At: tlsfault.AfterServerHello}
	exam.Run(t, exam.Client{Name: "grpc-go", Module: "google.golang.org/grpc"}, []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: connecting, Op: checkTLS(), Want: exam.AtLimit(sockettest.Err(unavailable))},
		{Name: exam.Stalled + ", with a deadline", Fixture: stalled, Knob: "the context", Op: within(patiently(checkTLS())),
			Want: exam.AtLimit(sockettest.Err(exceeded))},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Op: checkTLS(),
			Want: exam.AtOnce(sockettest.Err(unavailable))},
		{Name: exam.Untrusted + ", WaitForReady", Fixture: tlsfault.Untrusted{}, Knob: "the context", Op: within(checkTLS(grpc.WaitForReady(true))),
			Want: exam.AtLimit(sockettest.Err(exceeded))},
		{Name: exam.Untrusted + ", WaitForReady, no limit", Fixture: tlsfault.Untrusted{}, Knob: "none", Op: checkTLS(grpc.WaitForReady(true)),
			Want: exam.Never()},
		{Name: exam.SecuredSilent, Fixture: overTLS(established), Knob: "none", Op: patiently(checkTLS()), Want: exam.Never()},
		{Name: exam.SecuredSilent + ", with a deadline", Fixture: overTLS(established), Knob: "the context", Op: within(patiently(checkTLS())),
			Want: exam.AtLimit(sockettest.Err(exceeded))},
	})
}

// overTLS is a fixture that speaks HTTP/2 over TLS, without which grpc-go does not connect.
func overTLS(f fixtures.Fixture) fixtures.Fixture {
	config := tlsfault.ServerConfig()
	config.NextProtos = []string{"h2"}
	return tlsfault.Secured{Fixture: f, Config: config}
}

// checkTLS is one call, by a new client that speaks TLS.
func checkTLS(options ...grpc.CallOption) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := client(t, p, grpc.WithTransportCredentials(credentials.NewTLS(tlsfault.ClientConfig())))
		return func(ctx context.Context) error {
			_, err := c.Check(ctx, nil, options...)
			return coded(err)
		}
	}
}
