package franz

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// overTLS makes the client speak TLS.
func overTLS(set func(time.Duration) []kgo.Opt) func(time.Duration) []kgo.Opt {
	return func(d time.Duration) []kgo.Opt { return append(set(d), kgo.DialTLSConfig(tlsfault.ClientConfig())) }
}

func TestFranzOverTLS(t *testing.T) {
	t.Parallel()
	const (
		dial   = "kgo.DialTimeout (default 10s)"
		reply  = "kgo.RequestTimeoutOverhead (default 10s)"
		ctx    = "the context"
		kernel = "NewClient does not take both a dialer of one's own and kgo.DialTLSConfig"
	)
	stalled, secured := tlsfault.Stall{At: tlsfault.AfterServerHello}, tlsfault.OverTLS{Then: greeted}
	exam.Run(t, client.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: dial, Want: exam.AtLimit(sockettest.TimedOut).Times(2), Op: request(overTLS(dialTimeout)), KernelOnly: kernel},
		{Name: exam.Stalled + ", context", Fixture: stalled, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: requestWithin(overTLS(none)), KernelOnly: kernel},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Want: exam.AtOnce(sockettest.Rejected).In("handshake"), Op: request(overTLS(dialTimeout)), KernelOnly: kernel},
		{Name: exam.SecuredSilent, Fixture: secured, Knob: reply, Want: exam.AtLimit(sockettest.TimedOut).OnceSecured(), Op: request(overTLS(overhead)), KernelOnly: kernel,
			Limit: 2 * time.Second}, // within which a machine that stalls must greet, too
		{Name: exam.SecuredSilent + ", context", Fixture: secured, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: requestWithin(overTLS(none)), KernelOnly: kernel},
	})
}

// FINDINGS.md, franz-go 2: a record waits for the certificate to become one that is trusted, which a request does not, and its
// error does not tell of it.
func TestRecordWaitsForATrustedCertificate(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, tlsfault.Untrusted{})
		c := open(t, p, func(d time.Duration) []kgo.Opt { return append(defaults(d), kgo.Dialer(dialTLS(p))) })
		r := sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(time.Hour), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return c.ProduceSync(ctx, &kgo.Record{Topic: "topic", Value: []byte("x")}).FirstErr()
		})
		_, told := errors.AsType[*tls.CertificateVerificationError](r.Err)
		assert.False(t, told, "%v", r.Err)
		assert.NotContains(t, r.Err.Error(), "certificate")
		assert.Greater(t, len(p.Conns()), 100)
	})
}

// dialTLS is kgo.DialTLSConfig on simnet.
func dialTLS(p exam.Place) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, host string) (net.Conn, error) {
		c, err := p.DialContext(ctx, network, host)
		if err != nil {
			return nil, err
		}
		tc := tls.Client(c, tlsfault.ClientConfig())
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		return tc, nil
	}
}
