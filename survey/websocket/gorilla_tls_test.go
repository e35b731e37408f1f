package websocket_test

import (
	"context"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

var (
	stalled = tlsfault.Stall{At: tlsfault.AfterServerHello}
	secured = tlsfault.OverTLS{Then: upgraded}
)

func TestGorillaClientOverTLS(t *testing.T) {
	t.Parallel()
	const shaking = "Dialer.HandshakeTimeout (default none; of DefaultDialer 45s)"
	exam.Run(t, exam.Client{Name: "gorilla/websocket", Module: "github.com/gorilla/websocket", Peer: obliging}.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: shaking, Op: gorillaDialTLS(handshakeTimeout), Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Stalled + ", cancelled", Armed: "the caller gives up once the server has its first bytes", Fixture: stalled, Knob: "the context", Op: gorillaCancelledTLS,
			Want: exam.AtOnce(sockettest.Canceled)},
		{Name: exam.Stalled + ", no limit", Fixture: stalled, Knob: "none", Op: gorillaDialTLS(noTimeout), Want: exam.Never()},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Op: gorillaDialTLS(handshakeTimeout),
			Want: exam.AtOnce(sockettest.Rejected).In("handshake")},
		{Name: exam.SecuredSilent, Fixture: secured, Knob: "Conn.SetReadDeadline (default none)", Op: gorillaReadFrom(gorillaConnTLS, 1),
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.SecuredSilent + ", without a deadline", Fixture: secured, Knob: "none", Op: gorillaReadFrom(gorillaConnTLS, 0), Want: exam.Never()},
	})
}

func handshakeTimeout(d *websocket.Dialer, limit time.Duration) { d.HandshakeTimeout = limit }
func noTimeout(*websocket.Dialer, time.Duration)                {}

func gorillaDialTLS(set func(*websocket.Dialer, time.Duration)) func(testing.TB, exam.Place) func(context.Context) error {
	return func(_ testing.TB, p exam.Place) func(context.Context) error {
		d := websocket.Dialer{NetDialContext: p.DialContext, TLSClientConfig: tlsfault.ClientConfig()}
		set(&d, p.Limit)
		return func(ctx context.Context) error {
			c, _, err := d.DialContext(ctx, "wss://"+p.Addr(), nil)
			if err != nil {
				return err
			}
			return c.Close()
		}
	}
}

// gorillaCancelledTLS gives up in the middle of TLS, which obeys the context, as what comes after it does not.
func gorillaCancelledTLS(t testing.TB, p exam.Place) func(context.Context) error {
	return whenReceived(p, gorillaDialTLS(noTimeout)(t, p))
}

func gorillaConnTLS(t testing.TB, p exam.Place) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDialContext: p.DialContext, TLSClientConfig: tlsfault.ClientConfig()}
	c, _, err := d.DialContext(t.Context(), "wss://"+p.Addr(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
