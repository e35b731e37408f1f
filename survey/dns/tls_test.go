package dns_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestClientByTLS(t *testing.T) {
	t.Parallel()
	stalled := tlsfault.Stall{At: tlsfault.AfterServerHello}
	exam.Run(t, exam.Client{Name: "miekg/dns TCP", Module: "github.com/miekg/dns", Peer: exam.Honest(stream)}.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: timeout, Op: exchangeTLS(nil), Want: exam.AtLimit(sockettest.TimedOut), KernelOnly: kernelOnly},
		{Name: exam.Stalled + ", cancelled", Armed: "the caller gives up once the server has its first bytes", Fixture: stalled, Knob: "the context", Op: cancelledTLS,
			Want: exam.AtOnce(sockettest.Canceled), KernelOnly: kernelOnly},
		{Name: exam.Stalled + ", with a Dialer", Fixture: stalled, Knob: "none: Client.Timeout and DialTimeout are not for it",
			Op: exchangeTLS(&net.Dialer{}), Want: exam.Never(), KernelOnly: kernelOnly},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Op: exchangeTLS(nil),
			Want: exam.AtOnce(sockettest.Rejected).In("handshake"), KernelOnly: kernelOnly},
		{Name: exam.SecuredSilent, Fixture: tlsfault.OverTLS{Then: stream}, Knob: timeout, Op: exchangeAgainTLS,
			Want: exam.AtLimit(sockettest.TimedOut)},
	})
}

func clientTLS(p exam.Place) *dns.Client {
	return &dns.Client{Net: "tcp-tls", TLSConfig: tlsfault.ClientConfig(), Timeout: p.Limit}
}

// exchangeTLS is Client.ExchangeContext, with or without a Dialer.
func exchangeTLS(d *net.Dialer) func(testing.TB, exam.Place) func(context.Context) error {
	return func(_ testing.TB, p exam.Place) func(context.Context) error {
		client := clientTLS(p)
		client.Dialer, client.DialTimeout = d, p.Limit
		return func(ctx context.Context) error {
			_, _, err := client.ExchangeContext(ctx, question(), p.Addr())
			return err
		}
	}
}

// cancelledTLS gives up in the middle of TLS, which obeys the context, as what comes after it does not.
func cancelledTLS(t testing.TB, p exam.Place) func(context.Context) error {
	return whenReceived(p, exchangeTLS(nil)(t, p))
}

// exchangeAgainTLS asks on a connection on which one question was answered before the connection was cut.
func exchangeAgainTLS(t testing.TB, p exam.Place) func(context.Context) error {
	conn, patient := dialTLS(t, p), clientTLS(exam.Place{Limit: time.Minute})
	_, _, err := patient.ExchangeWithConn(question(), conn)
	require.NoError(t, err)
	p.Conns()[0].Partition()
	return func(ctx context.Context) error {
		_, _, err := clientTLS(p).ExchangeWithConnContext(ctx, question(), conn)
		return err
	}
}

// dialTLS is Client.DialContext, and on simnet what that does.
func dialTLS(t testing.TB, p exam.Place) *dns.Conn {
	t.Helper()
	if p.Virtual {
		c, err := p.DialContext(t.Context(), "tcp", p.Addr())
		require.NoError(t, err)
		conn := &dns.Conn{Conn: tls.Client(c, tlsfault.ClientConfig())}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	conn, err := clientTLS(exam.Place{Limit: time.Minute}).DialContext(t.Context(), p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
