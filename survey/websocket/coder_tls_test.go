package websocket_test

import (
	"cmp"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestCoderClientOverTLS(t *testing.T) {
	t.Parallel()
	exam.Run(t, exam.Client{Name: "coder/websocket", Module: "github.com/coder/websocket", Peer: obliging}.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: "the context of Dial", Op: coderDialTLS, Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Stalled + ", TLSHandshakeTimeout", Fixture: stalled, Knob: "http.Transport.TLSHandshakeTimeout (of http.DefaultClient 10s)",
			Op: coderUnboundedTLS(handshakeLimit), Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Stalled + ", no limit", Fixture: stalled, Knob: "none", Op: coderUnboundedTLS(noLimit), Want: exam.Never()},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Op: coderDialTLS,
			Want: exam.AtOnce(sockettest.Rejected).In("handshake")},
		{Name: exam.SecuredSilent, Fixture: secured, Knob: "the context of Read", Op: coderReadTLS, Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.SecuredSilent + ", no limit", Fixture: secured, Knob: "none", Op: coderReadOnTLS, Want: exam.Never()},
	})
}

func handshakeLimit(tr *http.Transport, limit time.Duration) { tr.TLSHandshakeTimeout = limit }
func noLimit(*http.Transport, time.Duration)                 {}

// coderTLS leads Dial to the fixture over TLS.
func coderTLS(t testing.TB, p exam.Place, set func(*http.Transport, time.Duration)) *websocket.DialOptions {
	options := coderOptions(t, p)
	tr := options.HTTPClient.Transport.(*http.Transport)
	tr.TLSClientConfig = tlsfault.ClientConfig()
	set(tr, p.Limit)
	return options
}

func coderDialTLS(t testing.TB, p exam.Place) func(context.Context) error {
	return bounded(p, coderUnboundedTLS(noLimit)(t, p))
}

func coderUnboundedTLS(set func(*http.Transport, time.Duration)) func(testing.TB, exam.Place) func(context.Context) error {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		options := coderTLS(t, p, set)
		return func(ctx context.Context) error {
			c, _, err := websocket.Dial(ctx, "wss://"+p.Addr(), options)
			if err != nil {
				return err
			}
			return c.CloseNow()
		}
	}
}

func coderReadTLS(t testing.TB, p exam.Place) func(context.Context) error {
	return bounded(p, coderReadOnTLS(t, p))
}

func coderReadOnTLS(t testing.TB, p exam.Place) func(context.Context) error {
	c, _, err := websocket.Dial(t.Context(), "wss://"+p.Addr(), coderTLS(t, p, noLimit))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.CloseNow() })
	return func(ctx context.Context) error {
		_, _, err := c.Read(ctx)
		return err
	}
}

// FINDINGS.md, coder 3: net/http goes on with a handshake whose caller has given up, within TLSHandshakeTimeout, or forever
// without one, until somebody calls CloseIdleConnections.
func TestCoderDialLeavesItsHandshake(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]time.Duration{"no limit": 0, "10 s": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				p := exam.Place{Limit: time.Second, Virtual: true, Endpoint: sockettest.Start(t, stalled, sockettest.On(simnet.New(t)))}
				options := coderTLS(t, p, func(tr *http.Transport, _ time.Duration) { tr.TLSHandshakeTimeout = limit })
				sockettest.Expect(t, p, sockettest.TimedOut.At(p.Limit), bounded(p, func(ctx context.Context) error {
					_, _, err := websocket.Dial(ctx, "wss://"+p.Addr(), options)
					return err
				}))
				time.Sleep(time.Hour) // rules:allow in a bubble
				if limit == 0 {
					end, _ := p.Conns()[0].PeerEnd()
					require.Equal(t, fixtures.Open, end)
					options.HTTPClient.CloseIdleConnections()
					time.Sleep(time.Second) // rules:allow in a bubble
				}
				end, at := p.Conns()[0].PeerEnd()
				assert.Equal(t, fixtures.FIN, end)
				assert.Equal(t, cmp.Or(limit, time.Hour+p.Limit), at)
			})
		})
	}
}
