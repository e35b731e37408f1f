// Package kafka holds segmentio/kafka-go to its limits.
package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// client names it in the table.
var client = exam.Client{Name: "kafka-go Client", Module: module, Peer: obliging}

const module = "github.com/segmentio/kafka-go"

func TestMain(m *testing.M) { sockettest.Main(m) }

// open returns a client with a transport of its own.
func open(t testing.TB, p exam.Place, set func(*kafka.Client, *kafka.Transport, time.Duration)) *kafka.Client {
	t.Helper()
	tr := &kafka.Transport{}
	if p.Virtual {
		tr.Dial = p.DialContext
	}
	t.Cleanup(tr.CloseIdleConnections)
	c := &kafka.Client{Addr: kafka.TCP(p.Addr()), Transport: tr}
	set(c, tr, p.Limit)
	return c
}

type op = func(testing.TB, exam.Place) func(context.Context) error

// ask connects and asks for what the broker knows.
func ask(set func(*kafka.Client, *kafka.Transport, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := open(t, p, set)
		return func(ctx context.Context) error {
			_, err := c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{"topic"}})
			return err
		}
	}
}

// askWithin does so with a context that ends.
func askWithin(t testing.TB, p exam.Place) func(context.Context) error {
	c := open(t, p, none)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		_, err := c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{"topic"}})
		return err
	}
}

func dialTimeout(_ *kafka.Client, tr *kafka.Transport, d time.Duration) {
	tr.DialTimeout, tr.MetadataTTL = d, time.Hour
}

func metadataTTL(_ *kafka.Client, tr *kafka.Transport, d time.Duration) {
	tr.DialTimeout, tr.MetadataTTL = time.Hour, d
}

func whole(c *kafka.Client, tr *kafka.Transport, d time.Duration) {
	none(c, tr, d)
	c.Timeout = d
}

func none(_ *kafka.Client, tr *kafka.Transport, _ time.Duration) {
	tr.DialTimeout, tr.MetadataTTL = time.Hour, time.Hour
}

// request uses a connection of its own, which is there.
func request(set func(*kafka.Conn, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		d := kafka.Dialer{}
		if p.Virtual {
			d.DialFunc = p.DialContext
		}
		c, err := d.DialContext(t.Context(), "tcp", p.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return func(context.Context) error {
			set(c, p.Limit)
			_, err := c.ReadPartitions("topic")
			return err
		}
	}
}

// dial connects, and no more.
func dial(t testing.TB, p exam.Place) func(context.Context) error {
	d := kafka.Dialer{Timeout: p.Limit}
	if p.Virtual {
		d.DialFunc = p.DialContext
	}
	return func(ctx context.Context) error {
		c, err := d.DialContext(ctx, "tcp", p.Addr())
		if err == nil {
			_ = c.Close()
		}
		return err
	}
}

func deadline(c *kafka.Conn, d time.Duration) { _ = c.SetDeadline(time.Now().Add(d)) }
func noDeadline(*kafka.Conn, time.Duration)   {}

func TestClient(t *testing.T) {
	t.Parallel()
	const (
		dialing = "Transport.DialTimeout (default 5s)"
		ttl     = "Transport.MetadataTTL (default 6s)"
		own     = "Client.Timeout (default none)"
		ctx     = "the context"
	)
	const lingers = "TestClosedTransportHoldsItsOwnRequest"
	greeted := answering(apiVersions)
	exam.Run(t, client, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: dialing, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: ask(dialTimeout)},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: dialing, Want: exam.AtLimit(sockettest.TimedOut), Op: ask(dialTimeout)},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: dialing, Want: exam.AtLimit(sockettest.TimedOut), Op: ask(dialTimeout)},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: dialing, Want: exam.AtOnce(sockettest.ResetByPeer), Op: ask(dialTimeout)},
		{Name: exam.WentSilent, Fixture: greeted, Knob: ttl, Want: exam.AtLimit(sockettest.TimedOut), Op: ask(metadataTTL),
			Lingers: lingers},
		{Name: exam.WentSilent + ", client", Fixture: greeted, Knob: own, Want: exam.AtLimit(sockettest.TimedOut), Op: ask(whole),
			Lingers: lingers},
		{Name: exam.WentSilent + ", context", Fixture: greeted, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: askWithin,
			Lingers: lingers},
	})
}

func TestConn(t *testing.T) {
	t.Parallel()
	const (
		dialing = "Dialer.Timeout (default none)"
		set     = "Conn.SetDeadline (default none)"
	)
	exam.Run(t, exam.Client{Name: "kafka-go Conn", Module: module, Peer: obliging}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: dialing, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: dial},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: dialing, Want: exam.AtLimit(sockettest.TimedOut).In("connect"), Op: dial},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: set, Want: exam.AtLimit(sockettest.TimedOut), Op: request(deadline)},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: set, Want: exam.AtOnce(sockettest.ResetByPeer), Op: request(deadline)},
		{Name: exam.WentSilent, Fixture: answering(apiVersions), Knob: set, Want: exam.AtLimit(sockettest.TimedOut), Op: request(deadline)},
		{Name: exam.WentSilent + ", no limit", Fixture: answering(apiVersions), Knob: "none", Want: exam.Never(), Op: request(noDeadline)},
	})
}
