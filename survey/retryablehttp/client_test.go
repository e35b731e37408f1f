// Package retryablehttp_test holds github.com/hashicorp/go-retryablehttp to its retries: how many, when, and after what.
package retryablehttp_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

const (
	attempts  = "HTTPClient.Timeout (default none), for each of RetryMax + 1 (default 5) attempts"
	bodies    = "HTTPClient.Timeout (default none), the body of a 503 included"
	retries   = 2
	answering = 5 * time.Second // the limit where something is answered within it, on a machine that stalls too
	waitMin   = 50 * time.Millisecond
	waits     = waitMin + 2*waitMin // before the second attempt, and before the third
)

func TestMain(m *testing.M) { sockettest.Main(m) }

func TestClient(t *testing.T) {
	t.Parallel()
	head := script.ReadUntil("\r\n\r\n")
	stalled := fixtures.Scripted{Steps: script.Script{head, script.Send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\n"), script.Stall()}}
	within := fixtures.Scripted{Steps: script.Script{head, script.Send("HTTP/1.1 200 OK\r\n"), script.Reset()}}
	exam.Run(t, exam.Client{Name: "go-retryablehttp", Module: "github.com/hashicorp/go-retryablehttp", Peer: httpfault.OK{}}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: "RetryMax (default 4), RetryWaitMin (default 1s), RetryWaitMax (default 30s)", Op: get(bounded),
			Want: exam.AtOnce(sockettest.Rejected).In("connect").Plus(waits)},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: attempts, Op: get(bounded),
			Want: exam.AtLimit(sockettest.TimedOut).Times(1 + retries).Plus(waits)},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: attempts, Op: counted(1+retries, get(bounded)),
			Want: exam.AtLimit(sockettest.TimedOut).Times(1 + retries).Plus(waits)},
		{Name: exam.Unanswered + ", as it comes", Fixture: fixtures.Silent{}, Knob: "none", Op: counted(1, get(asItComes)),
			Want: exam.Never()},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: "RetryMax (default 4)", Op: counted(1+retries, get(bounded)),
			Want: exam.AtOnce(sockettest.ResetByPeer).Plus(waits)},
		{Name: "reset within the head of the answer", Fixture: within, Knob: "RetryMax (default 4)", Op: counted(1+retries, get(bounded)),
			Want: exam.AtOnce(sockettest.Closed).Plus(waits)}, // bufio's Peek swallows ECONNRESET, and net/textproto reads on, to EOF
		{Name: "503, and a body that stalls", Fixture: stalled, Knob: bodies, Op: counted(1+retries, get(bounded)),
			SimnetOnly: "on a machine that stalls the answer may come too late",
			Want:       exam.AtLimit(sockettest.Other).Times(1 + retries).Plus(waits)}, // "giving up after 3 attempt(s)", and no cause
		{Name: "503, and a body that stalls, as it comes", Fixture: stalled, Knob: "none", Op: counted(1, get(asItComes)),
			Want: exam.Never()},
		{Name: exam.WentSilent, Fixture: serving("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Knob: attempts, Op: counted(2, getAgain),
			Limit: answering, Want: exam.AtLimit(sockettest.Accepted).Plus(waitMin)}, // the second attempt is on a connection of its own
	})
}

// serving answers each request with the same.
func serving(answer string) fixtures.Fixture {
	return fixtures.Scripted{Steps: script.Script{script.Forever(script.ReadUntil("\r\n\r\n"), script.Send(answer))}}
}

// asItComes is a client with no more than a dial function, and fewer retries.
func asItComes(p exam.Place) *retryablehttp.Client {
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.RetryMax, c.RetryWaitMin = retries, waitMin
	c.HTTPClient.Transport.(*http.Transport).DialContext = p.DialContext
	return c
}

// bounded is one whose attempts have a limit.
func bounded(p exam.Place) *retryablehttp.Client {
	c := asItComes(p)
	c.HTTPClient.Timeout = p.Limit
	return c
}

type op = func(testing.TB, exam.Place) func(context.Context) error

func get(client func(exam.Place) *retryablehttp.Client) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := client(p)
		t.Cleanup(c.HTTPClient.CloseIdleConnections)
		return func(ctx context.Context) error { return fetch(ctx, c, p) }
	}
}

// getAgain has had one answer on its connection before that is cut.
func getAgain(t testing.TB, p exam.Place) func(context.Context) error {
	c := bounded(p)
	t.Cleanup(c.HTTPClient.CloseIdleConnections)
	c.HTTPClient.Timeout = time.Minute
	require.NoError(t, fetch(t.Context(), c, p))
	c.HTTPClient.Timeout = p.Limit
	p.Conns()[0].Partition()
	return func(ctx context.Context) error { return fetch(ctx, c, p) }
}

func fetch(ctx context.Context, c *retryablehttp.Client, p exam.Place) error {
	return fetchURL(ctx, c, "http://"+p.Addr())
}

func fetchURL(ctx context.Context, c *retryablehttp.Client, url string) error {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// counted wants n connections in all when the client is done: each is one attempt. Not on the kernel, where a machine
// that stalls may end an attempt before it has connected.
func counted(n int, do op) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		call := do(t, p)
		return func(ctx context.Context) error {
			err := call(ctx)
			if p.Virtual && !p.Disarmed() {
				assert.Len(t, p.Conns(), n, "attempts")
			}
			return err
		}
	}
}
