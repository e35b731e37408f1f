package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// on starts a fixture on a simulated network.
func on(t *testing.T, f fixtures.Fixture) exam.Place {
	t.Helper()
	return exam.Place{Endpoint: sockettest.Start(t, f, sockettest.On(simnet.New(t))), Virtual: true, Limit: 30 * time.Second}
}

// stillOpen wants the connections with these numbers open, an hour from now.
func stillOpen(t *testing.T, p exam.Place, numbers ...int) {
	t.Helper()
	time.Sleep(time.Hour) // rules:allow virtual time
	assert.Equal(t, numbers, openConns(p))
}

// openConns returns the numbers of the connections that the client has not closed.
func openConns(p exam.Place) []int {
	var open []int
	for _, c := range p.Conns() {
		if end, _ := c.PeerEnd(); end == fixtures.Open {
			open = append(open, c.ID())
		}
	}
	return open
}

var auth = plain.Mechanism{Username: "user", Password: "password"}

// FINDINGS.md, kafka-go 1: Transport.DialTimeout "includes all round trips done to establish the connections (TLS handshake, SASL
// negotiation, etc...)", but its deadline is taken off the connection just before SASL begins. The context ends the wait, and
// leaves the connection and the goroutine that waits on it.
func TestDialTimeoutDoesNotBoundSASL(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, answering(apiVersions))
		op := ask(func(c *kafka.Client, tr *kafka.Transport, d time.Duration) {
			tr.DialTimeout, tr.SASL = d, auth
		})(t, p)
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(time.Hour), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return op(ctx)
		})
		stillOpen(t, p, 1)
	})
}

// FINDINGS.md, kafka-go 2: neither Dialer.Timeout nor the context bounds SASL: DialContext goes on waiting.
func TestDialerIgnoresContextAndTimeoutInSASL(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.Silent{})
		d := kafka.Dialer{DialFunc: p.DialContext, Timeout: p.Limit, SASLMechanism: auth}
		sockettest.Expect(t, p.Endpoint, sockettest.Blocked.For(time.Hour).In("read"), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			c, err := d.DialContext(ctx, "tcp", p.Addr())
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	})
}

// FINDINGS.md, kafka-go 3: a request whose context is cancelled returns, but its connection, and the goroutine that waits for the
// answer, stay for as long as the broker does not end them; CloseIdleConnections does not either. A context with a deadline does.
func TestCancelledRequestLeavesItsConnection(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, answering(apiVersions, metadata))
		c := open(t, p, none)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		sockettest.Expect(t, p.Endpoint, sockettest.Canceled.At(time.Second), func() error {
			_, err := c.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{"topic": {kafka.LastOffsetOf(0)}}})
			return err
		})
		c.Transport.(*kafka.Transport).CloseIdleConnections()
		stillOpen(t, p, 2)
	})
}

// FINDINGS.md, kafka-go 6: CloseIdleConnections leaves the connection on which the transport asks for metadata, for MetadataTTL, 6 s.
func TestClosedTransportHoldsItsOwnRequest(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, answering(apiVersions))
		p.Limit = time.Second
		c := open(t, p, func(*kafka.Client, *kafka.Transport, time.Duration) {})
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(p.Limit), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			_, err := c.Metadata(ctx, &kafka.MetadataRequest{})
			return err
		})
		c.Transport.(*kafka.Transport).CloseIdleConnections()
		time.Sleep(5*time.Second - 1) // rules:allow virtual time
		assert.Equal(t, []int{1}, openConns(p))
		time.Sleep(time.Second) // rules:allow virtual time
		assert.Empty(t, openConns(p))
	})
}

// FINDINGS.md, kafka-go 4: Reader.Close waits for a partition's leader that does not answer: up to 10 s, which cannot be set. A second
// connection, which asks for the lag, stays for 20 s more.
func TestReaderCloseWaitsForTheLeader(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, answering(apiVersions, metadata))
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{p.Addr()}, Topic: "topic", Dialer: &kafka.Dialer{DialFunc: p.DialContext}})
		go func() { _, _ = r.FetchMessage(t.Context()) }()
		require.NoError(t, p.Await(t.Context(), fixtures.ConnAccepted, 4)) // two ask who leads, two ask the leader
		sockettest.Expect(t, p.Endpoint, sockettest.Accepted.At(10*time.Second), r.Close)
		time.Sleep(20*time.Second - 1) // rules:allow virtual time
		assert.Len(t, openConns(p), 1)
		time.Sleep(time.Second) // rules:allow virtual time
		assert.Empty(t, openConns(p))
	})
}

// FINDINGS.md, kafka-go 5: Writer.WriteTimeout is 10 s, and WriteMessages returns after 108.4 s: it waits a second for more messages,
// tries 10 times, and pauses for 100 ms, 400 ms, 900 ms and then a second.
func TestWriterDefaultsAndNoAnswer(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, answering(apiVersions, metadata))
		tr := &kafka.Transport{Dial: p.DialContext}
		t.Cleanup(tr.CloseIdleConnections)
		w := &kafka.Writer{Addr: kafka.TCP(p.Addr()), Topic: "topic", Transport: tr, RequiredAcks: kafka.RequireOne}
		t.Cleanup(func() { require.NoError(t, w.Close()) })
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(108400*time.Millisecond), func(ctx context.Context) error {
			errs, ok := w.WriteMessages(ctx, kafka.Message{Value: []byte("x")}).(kafka.WriteErrors)
			require.True(t, ok)
			return errs[0]
		})
		assert.Len(t, p.Conns(), 11, "one that knows the brokers, and one for each attempt")
	})
}

// FINDINGS.md, kafka-go 5: with RequireNone, the zero value, there is nothing to wait for but the batch.
func TestWriterThatWantsNoAnswer(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, answering(apiVersions, metadata))
		tr := &kafka.Transport{Dial: p.DialContext}
		t.Cleanup(tr.CloseIdleConnections)
		w := &kafka.Writer{Addr: kafka.TCP(p.Addr()), Topic: "topic", Transport: tr}
		t.Cleanup(func() { require.NoError(t, w.Close()) })
		sockettest.Expect(t, p.Endpoint, sockettest.Accepted.At(time.Second), func(ctx context.Context) error {
			return w.WriteMessages(ctx, kafka.Message{Value: []byte("x")})
		})
	})
}
