package retryablehttp_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestClientOverTLS(t *testing.T) {
	t.Parallel()
	const (
		shaking   = "http.Transport.TLSHandshakeTimeout (of NewClient 10s), for each of RetryMax + 1 (default 5) attempts"
		handshake = 10 * time.Second // of go-cleanhttp
	)
	stalled := tlsfault.Stall{At: tlsfault.AfterServerHello}
	ok := tlsfault.OverTLS{Then: serving("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")}
	exam.Run(t, exam.Client{Name: "go-retryablehttp", Module: "github.com/hashicorp/go-retryablehttp", Peer: httpfault.OK{}}.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: shaking, Op: counted(1+retries, getTLS(shakesWithin)),
			Want: exam.AtLimit(sockettest.TimedOut).Times(1 + retries).Plus(waits)},
		{Name: exam.Stalled + ", as it comes", Fixture: stalled, Knob: shaking, Op: counted(1+retries, getTLS(asItComes)),
			SimnetOnly: "it takes 30 s",
			Want:       exam.AtOnce(sockettest.TimedOut).Plus((1+retries)*handshake + waits)},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed: it is not tried again", Op: counted(1, getTLS(bounded)),
			Want: exam.AtOnce(sockettest.Rejected).In("handshake")},
		{Name: exam.SecuredSilent, Fixture: ok, Knob: attempts, Op: counted(2, getAgainTLS),
			Limit: answering, Want: exam.AtLimit(sockettest.Accepted).Plus(waitMin)}, // the second attempt is on a connection of its own
	})
}

// shakesWithin is one whose handshakes have another limit.
func shakesWithin(p exam.Place) *retryablehttp.Client {
	c := asItComes(p)
	c.HTTPClient.Transport.(*http.Transport).TLSHandshakeTimeout = p.Limit
	return c
}

// overTLS makes a client trust the fixtures.
func overTLS(c *retryablehttp.Client) *retryablehttp.Client {
	c.HTTPClient.Transport.(*http.Transport).TLSClientConfig = tlsfault.ClientConfig()
	return c
}

func getTLS(client func(exam.Place) *retryablehttp.Client) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := overTLS(client(p))
		t.Cleanup(c.HTTPClient.CloseIdleConnections)
		return func(ctx context.Context) error { return fetchURL(ctx, c, "https://"+p.Addr()) }
	}
}

// getAgainTLS is getAgain over TLS.
func getAgainTLS(t testing.TB, p exam.Place) func(context.Context) error {
	c := overTLS(bounded(p))
	t.Cleanup(c.HTTPClient.CloseIdleConnections)
	c.HTTPClient.Timeout = time.Minute
	require.NoError(t, fetchURL(t.Context(), c, "https://"+p.Addr()))
	c.HTTPClient.Timeout = p.Limit
	p.Conns()[0].Partition()
	return func(ctx context.Context) error { return fetchURL(ctx, c, "https://"+p.Addr()) }
}
