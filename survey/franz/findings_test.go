package franz

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// on starts a fixture on a simulated network.
func on(t *testing.T, f fixtures.Fixture) exam.Place {
	t.Helper()
	return exam.Place{Endpoint: sockettest.Start(t, f, sockettest.On(simnet.New(t))), Virtual: true, Limit: 10 * time.Second}
}

// defaults are all of the client's own, but for the pause between tries, which is random.
func defaults(time.Duration) []kgo.Opt {
	return []kgo.Opt{kgo.RequestRetries(20), kgo.RetryBackoffFn(func(int) time.Duration { return 0 })}
}

// FINDINGS.md, franz-go 1: each try dials twice, whatever kgo.RequestRetries says, and RetryTimeout, 30 s, decides whether to begin a
// try, not when it ends.
func TestDefaultsTake40s(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fixtures.Fixture{"black hole": fixtures.BlackHole{}, "silent": fixtures.Silent{}, "greeted": greeted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				p := on(t, f)
				sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(40*time.Second), request(defaults)(t, p))
			})
		})
	}
}

// A record waits forever, unless kgo.RecordDeliveryTimeout or its context bounds it.
func TestRecordWaitsForEver(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.BlackHole{})
		c := open(t, p, defaults)
		sockettest.Expect(t, p.Endpoint, sockettest.Blocked.For(time.Hour), func(ctx context.Context) error {
			return c.ProduceSync(ctx, &kgo.Record{Topic: "topic", Value: []byte("x")}).FirstErr()
		})
	})
}

// Close ends what hangs, at once: a dial as well as a read.
func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fixtures.Fixture{"black hole": fixtures.BlackHole{}, "silent": fixtures.Silent{}, "greeted": greeted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				p := on(t, f)
				c := open(t, p, defaults)
				time.AfterFunc(2*time.Second, c.Close)
				sockettest.Expect(t, p.Endpoint, sockettest.ErrorIs(kgo.ErrClientClosed).At(2*time.Second), func(ctx context.Context) error {
					_, err := c.Request(ctx, kmsg.NewPtrMetadataRequest())
					return err
				})
				time.Sleep(time.Minute) // rules:allow virtual time
				assert.LessOrEqual(t, len(p.Conns()), 1)
			})
		})
	}
}
