package nats

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// reconnect connects, is reset, and tries three times to connect again. It ends when the client gives up.
func reconnect(more ...nats.Option) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		return func(context.Context) error {
			closed := make(chan struct{})
			nc, err := nats.Connect("nats://"+p.Addr(), append([]nats.Option{nats.SetCustomDialer(dialer{t.Context(), p, 0}), nats.MaxReconnects(3),
				nats.ReconnectJitter(0, 0), nats.ClosedHandler(func(*nats.Conn) { close(closed) })}, more...)...)
			if err != nil {
				return err
			}
			if err := p.Conns()[0].Reset(); err != nil {
				return err
			}
			<-closed
			return nc.LastError()
		}
	}
}

// FINDINGS.md, nats 1: a connection whose handshake fails in a reconnect is not closed. Only the last one is, with the client.
func TestReconnectLeavesConnectionsOpen(t *testing.T) {
	exam.Run(t, client, []exam.Case{
		{Name: "reconnect, then silent", Fixture: fixtures.Sequence{silent, fixtures.Silent{}}, Knob: "nats.Timeout (default 2s), nats.ReconnectWait (default 2s)",
			Want: exam.AtOnce(sockettest.ErrorIs(nats.ErrNoServers)).Plus(3 * 4 * time.Second), Op: reconnect(),
			Leak: "leak: 2 connections left behind", SimnetOnly: "on the kernel the garbage collector closes them, sooner or later"},
	})
}

// FINDINGS.md, nats 2: while a reconnect dials, for as long as nats.Timeout, the client is locked: Publish does not buffer, and
// Close does not return.
func TestReconnectLocksTheClient(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]func(*nats.Conn) error{
		"Publish":     func(nc *nats.Conn) error { return nc.Publish("subject", nil) },
		"Close":       func(nc *nats.Conn) error { nc.Close(); return nil },
		"IsConnected": func(nc *nats.Conn) error { nc.IsConnected(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.NoLeaks(t)
			ep := sockettest.Start(t, silent)
			nc, err := nats.Connect("nats://"+ep.Addr(), nats.Timeout(time.Hour), nats.CustomReconnectDelay(once))
			require.NoError(t, err)
			t.Cleanup(nc.Close)
			require.NoError(t, ep.Become(fixtures.BlackHole{}))
			require.NoError(t, ep.Conns()[0].Reset())
			require.NoError(t, ep.Await(t.Context(), fixtures.SYN, 1))
			sockettest.Expect(t, ep, sockettest.Blocked.For(200*time.Millisecond), func() error { return op(nc) })
		})
	}
}

// once makes the client try again at once, and then not for an hour.
func once(attempts int) time.Duration {
	if attempts == 1 {
		return 0
	}
	return time.Hour
}
