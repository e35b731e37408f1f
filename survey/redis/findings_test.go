package redis

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
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

// defaults are all of the client's own, but for the pause between attempts, which is random and at most a second.
func defaults(o *redis.Options, _ time.Duration) {
	o.DialerRetries, o.MaxRetries, o.MinRetryBackoff = 0, 0, -1
}

// FINDINGS.md, redis 1: DialTimeout is 5 s, and a command into a black hole takes 20 times as long and a little: 5 dials with
// pauses of 100 ms, for each of 4 attempts.
func TestDefaultsIntoABlackHole(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.BlackHole{})
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(4*(5*5*time.Second+4*100*time.Millisecond)), ping(defaults)(t, p))
	})
}

// FINDINGS.md, redis 1: ReadTimeout is 5 s, and a command that nobody answers takes 20 s.
func TestDefaultsAndNoAnswer(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, silent)
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(4*5*time.Second), ping(defaults)(t, p))
		assert.Len(t, p.Conns(), 4, "a connection for each attempt")
	})
}

// FINDINGS.md, redis 3: a dial goes on, and begins again, when its caller has given up and the client is closed.
func TestDialOutlivesCloseAndCaller(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.BlackHole{})
		o := &redis.Options{Addr: p.Addr(), Dialer: p.DialContext, MaxRetries: -1}
		c := redis.NewClient(o)
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(time.Second), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Ping(ctx).Err()
		})
		require.NoError(t, c.Close())
		time.Sleep(23 * time.Second) // rules:allow virtual time; 24 s after the first dial, in the middle of the fifth
		require.NoError(t, p.Become(fixtures.Discard{}))
		require.NoError(t, p.Await(t.Context(), fixtures.ConnAccepted, 1), "a connection to a closed client")
		time.Sleep(time.Minute) // rules:allow virtual time
		assert.Len(t, p.Conns(), 1)
		end, _ := p.Conns()[0].PeerEnd()
		assert.Equal(t, fixtures.FIN, end, "which it then closes")
	})
}

// FINDINGS.md, redis 4: a negative DialTimeout is no "no limit", as a negative ReadTimeout is: the dial has timed out before
// it began.
func TestNegativeDialTimeoutIsOver(t *testing.T) {
	t.Parallel()
	sockettest.NoLeaks(t)
	p := exam.Place{Endpoint: sockettest.Start(t, silent), Limit: time.Minute}
	op := ping(func(o *redis.Options, _ time.Duration) { o.DialTimeout = -1 })(t, p)
	sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.Before(5*time.Second).In("connect"), op)
	assert.Empty(t, p.Conns())
}
