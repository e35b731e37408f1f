package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

var (
	stalled = tlsfault.Stall{At: tlsfault.AfterServerHello}
	secured = tlsfault.OverTLS{Then: answering(apiVersions)}
)

// overTLS makes the transport speak TLS.
func overTLS(set func(*kafka.Client, *kafka.Transport, time.Duration)) func(*kafka.Client, *kafka.Transport, time.Duration) {
	return func(c *kafka.Client, tr *kafka.Transport, d time.Duration) {
		tr.TLS = tlsfault.ClientConfig()
		set(c, tr, d)
	}
}

func TestClientOverTLS(t *testing.T) {
	t.Parallel()
	const (
		dialing = "Transport.DialTimeout (default 5s)"
		ttl     = "Transport.MetadataTTL (default 6s)"
		own     = "Client.Timeout (default none)"
		lingers = "TestClosedTransportHoldsItsOwnRequest"
	)
	exam.Run(t, client.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: dialing, Want: exam.AtLimit(sockettest.TimedOut), Op: ask(overTLS(dialTimeout))},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Want: exam.AtOnce(sockettest.Rejected).In("handshake"), Op: ask(overTLS(dialTimeout))},
		{Name: exam.SecuredSilent, Fixture: secured, Knob: ttl, Want: exam.AtLimit(sockettest.TimedOut).OnceSecured(), Op: ask(overTLS(metadataTTL)), Lingers: lingers},
		{Name: exam.SecuredSilent + ", client", Fixture: secured, Knob: own, Want: exam.AtLimit(sockettest.TimedOut), Op: ask(overTLS(whole)), Lingers: lingers},
	})
}

// tlsDialer is one that leads to the fixture.
func tlsDialer(p exam.Place) *kafka.Dialer {
	d := &kafka.Dialer{TLS: tlsfault.ClientConfig()}
	if p.Virtual {
		d.DialFunc = p.DialContext
	}
	return d
}

// dialTLS connects, and no more.
func dialTLS(set func(*kafka.Dialer, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		d := tlsDialer(p)
		set(d, p.Limit)
		return func(ctx context.Context) error {
			c, err := d.DialContext(ctx, "tcp", p.Addr())
			if err == nil {
				_ = c.Close()
			}
			return err
		}
	}
}

// requestTLS uses a connection of its own, which is there.
func requestTLS(set func(*kafka.Conn, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c, err := tlsDialer(p).DialContext(t.Context(), "tcp", p.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return func(context.Context) error {
			set(c, p.Limit)
			_, err := c.ReadPartitions("topic")
			return err
		}
	}
}

func timeout(d *kafka.Dialer, limit time.Duration) { d.Timeout = limit }
func noTimeout(*kafka.Dialer, time.Duration)       {}

// FINDINGS.md, kafka-go 8: a connection whose handshake fails is not closed.
func TestConnOverTLS(t *testing.T) {
	t.Parallel()
	const (
		dialing = "Dialer.Timeout (default none)"
		set     = "Conn.SetDeadline (default none)"
	)
	exam.Run(t, exam.Client{Name: "kafka-go Conn", Module: module, Peer: obliging}.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: dialing, Want: exam.AtLimit(sockettest.TimedOut), Op: dialTLS(timeout)},
		{Name: exam.Stalled + ", no limit", Fixture: stalled, Knob: "none", Want: exam.Never(), Op: dialTLS(noTimeout)},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Want: exam.AtOnce(sockettest.Rejected).In("handshake"), Op: dialTLS(timeout),
			Leak: "leak: 1 connection left behind", SimnetOnly: "on the kernel the garbage collector closes it, sooner or later"},
		{Name: exam.SecuredSilent, Fixture: secured, Knob: set, Want: exam.AtLimit(sockettest.TimedOut), Op: requestTLS(deadline)},
		{Name: exam.SecuredSilent + ", no limit", Fixture: secured, Knob: "none", Want: exam.Never(), Op: requestTLS(noDeadline)},
	})
}

// FINDINGS.md, kafka-go 8: a Reader leaves as many connections as it has dialled.
func TestReaderLeavesUntrustedConnectionsOpen(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		p := on(t, tlsfault.Untrusted{})
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{p.Addr()}, Topic: "topic", Dialer: tlsDialer(p)})
		sockettest.Expect(t, p.Endpoint, sockettest.Rejected.Before(time.Minute).In("handshake"), func(ctx context.Context) error {
			_, err := r.FetchMessage(ctx)
			return err
		})
		require.NoError(t, r.Close())
		time.Sleep(time.Hour) // rules:allow virtual time
		assert.NotEmpty(t, p.Conns())
		assert.Len(t, openConns(p), len(p.Conns()))
	})
}
