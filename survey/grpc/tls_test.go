package grpc_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestClientOverTLS(t *testing.T) {
	t.Parallel()
	const connecting = "ConnectParams.MinConnectTimeout (default 20s), or the backoff to come if that is longer"
	stalled := tlsfault.Stall{At: tlsfault.AfterServerHello}
	exam.Run(t, exam.Client{Name: "grpc-go", Module: "google.golang.org/grpc", Peer: exam.Honest(overTLS(server{}))}, []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: connecting, Op: checkTLS(), Want: exam.AtLimit(sockettest.ErrorIs(unavailable))},
		{Name: exam.Stalled + ", with a deadline", Fixture: stalled, Knob: "the context", Op: within(patiently(checkTLS())),
			Want: exam.AtLimit(sockettest.ErrorIs(exceeded))},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Op: checkTLS(),
			Want: exam.AtOnce(sockettest.ErrorIs(unavailable))},
		{Name: exam.Untrusted + ", WaitForReady", Fixture: tlsfault.Untrusted{}, Knob: "the context", Op: within(checkTLS(grpc.WaitForReady(true))),
			Want: exam.AtLimit(sockettest.ErrorIs(exceeded))},
		{Name: exam.Untrusted + ", WaitForReady, no limit", Fixture: tlsfault.Untrusted{}, Knob: "none", Op: checkTLS(grpc.WaitForReady(true)),
			Want: exam.Never()},
		{Name: exam.SecuredSilent, Fixture: overTLS(established), Knob: "none", Op: patiently(checkTLS()), Want: exam.Never()},
		{Name: exam.SecuredSilent + ", with a deadline", Fixture: overTLS(established), Knob: "the context", Op: within(patiently(checkTLS())),
			Want: exam.AtLimit(sockettest.ErrorIs(exceeded))},
	})
}

// overTLS is a fixture that speaks HTTP/2 over TLS, without which grpc-go does not connect.
func overTLS(f fixtures.Fixture) fixtures.Fixture {
	config := tlsfault.ServerConfig()
	config.NextProtos = []string{"h2"}
	return tlsfault.OverTLS{Then: f, Config: config}
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

// FINDINGS.md, grpc 8: what does not pass is tried again like what may, with the backoff, and also when nobody calls any more.
func TestUntrustedCertificateIsTriedForEver(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]grpc.CallOption{"a call that fails": nil, "a call that waits": {grpc.WaitForReady(true)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alone(t, tlsfault.Untrusted{}, 10*time.Minute, func(t *testing.T, p exam.Place) {
				c := client(t, p, exactly(), grpc.WithTransportCredentials(credentials.NewTLS(tlsfault.ClientConfig())))
				ctx, cancel := context.WithTimeout(t.Context(), p.Limit)
				defer cancel()
				_, err := c.Check(ctx, nil, options...)
				assert.ErrorContains(t, err, "x509: certificate signed by unknown authority")
				_, told := errors.AsType[*tls.CertificateVerificationError](err)
				assert.False(t, told)
				<-ctx.Done()
				assert.Len(t, p.Conns(), 14)
			})
		})
	}
}
