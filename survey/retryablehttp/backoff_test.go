package retryablehttp_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// The schedule as it comes: RetryWaitMin 1 s, doubled up to RetryWaitMax 30 s, RetryMax 4.
func TestBackoff(t *testing.T) {
	t.Parallel()
	const dialTimeout = 30 * time.Second // of go-cleanhttp
	for _, tt := range []struct {
		name     string
		fixture  fixtures.Fixture
		retryMax int // 4 as it comes
		want     sockettest.Want
	}{
		{"refused", fixtures.Refused{}, 4, sockettest.Rejected.At(15 * time.Second)},                              // 1+2+4+8
		{"refused, many times", fixtures.Refused{}, 10, sockettest.Rejected.At(31*time.Second + 150*time.Second)}, // 1+2+4+8+16, 5 x 30
		{"no answer to the connect", fixtures.BlackHole{}, 4, sockettest.TimedOut.At(5*dialTimeout + 15*time.Second)},
		{"reset", fixtures.Reset{}, 4, sockettest.ResetByPeer.At(15 * time.Second)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			alone(t, tt.fixture, func(t *testing.T, p exam.Place) {
				c := patient(p, dialTimeout)
				c.RetryMax = tt.retryMax
				sockettest.Expect(t, p, tt.want, func(ctx context.Context) error { return fetch(ctx, c, p) })
			})
		})
	}
}

// A server that is down for 40 s is back when the attempt at 61 s comes: 1+2+4+8+16+30.
func TestServerComesBack(t *testing.T) {
	t.Parallel()
	alone(t, fixtures.Refused{}, func(t *testing.T, p exam.Place) {
		back := time.AfterFunc(40*time.Second, func() {
			assert.NoError(t, p.Become(serving("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
		})
		defer back.Stop()
		c := patient(p, time.Minute)
		c.RetryMax = 10
		sockettest.Expect(t, p, sockettest.Accepted.At(61*time.Second), func(ctx context.Context) error { return fetch(ctx, c, p) })
		assert.Len(t, p.Conns(), 1)
	})
}

// RetryWaitMax does not bound what the server says in Retry-After: nothing does but the request's context. What does not fit
// into a time.Duration comes out as anything.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, after string
		want        sockettest.Want
	}{
		{"no header", "x", sockettest.Accepted.At(time.Second)}, // RetryWaitMin
		{"a minute", "60", sockettest.Accepted.At(time.Minute)}, // twice RetryWaitMax
		{"a day", "86400", sockettest.Accepted.At(24 * time.Hour)},
		{"a date", "Sat, 01 Jan 2000 06:00:00 GMT", sockettest.Accepted.At(6 * time.Hour)}, // a bubble begins with 2000
		{"300 years", "9500000000", sockettest.Accepted.At(0)},                             // overflow: no pause at all
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refusal := fixtures.Scripted{Steps: script.Script{script.ReadUntil("\r\n\r\n"),
				script.Send("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: " + tt.after + "\r\n\r\n"), script.Close()}}
			steps := fixtures.Sequence{refusal, serving("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")}
			alone(t, steps, func(t *testing.T, p exam.Place) {
				c := patient(p, time.Minute)
				sockettest.Expect(t, p, tt.want, func(ctx context.Context) error { return fetch(ctx, c, p) })
				assert.Len(t, p.Conns(), 2, "attempts")
			})
		})
	}
}

// The request's context ends a pause, too.
func TestContextEndsAPause(t *testing.T) {
	t.Parallel()
	alone(t, fixtures.Refused{}, func(t *testing.T, p exam.Place) {
		c := patient(p, time.Minute)
		sockettest.Expect(t, p, sockettest.TimedOut.At(5*time.Second), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // between the attempts at 3 s and 7 s
			defer cancel()
			return fetch(ctx, c, p)
		})
	})
}

// alone runs f in a bubble, with a fixture on simnet.
func alone(t *testing.T, f fixtures.Fixture, do func(t *testing.T, p exam.Place)) {
	t.Helper()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		do(t, exam.Place{Endpoint: sockettest.Start(t, f, sockettest.On(simnet.New(t))), Virtual: true})
	})
}

// patient is retryablehttp.NewClient, but for the network and its silence.
func patient(p exam.Place, dialTimeout time.Duration) *retryablehttp.Client {
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.HTTPClient.Transport.(*http.Transport).DialContext = within(p, dialTimeout)
	return c
}

// within dials with a limit, as a net.Dialer with a Timeout does.
func within(p exam.Place, limit time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return p.DialContext(ctx, network, address)
	}
}
