package redis

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// overTLS makes the client speak TLS. Its handshake has DialTimeout, which is for none of what comes after it.
func overTLS(set func(*redis.Options, time.Duration)) func(*redis.Options, time.Duration) {
	return func(o *redis.Options, d time.Duration) {
		o.DialTimeout = time.Hour
		o.TLSConfig = tlsfault.ClientConfig()
		set(o, d)
	}
}

func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	const (
		dial   = "Options.DialTimeout (default 5s)"
		tries  = "Options.DialerRetries (default 5)"
		read   = "Options.ReadTimeout (default 5s)"
		kernel = "with a dialer of one's own it speaks no TLS: see TestDialerTurnsTLSOff"
	)
	stalled := tlsfault.Stall{At: tlsfault.AfterServerHello}
	exam.Run(t, client.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: dial, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(overTLS(dialTimeout)), KernelOnly: kernel},
		{Name: exam.Stalled + ", context", Fixture: stalled, Knob: "the context", Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(overTLS(laterDialTimeout)),
			KernelOnly: kernel},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: tries, Want: exam.AtOnce(sockettest.Rejected).In("handshake"), Op: ping(overTLS(dialTimeout)),
			KernelOnly: kernel},
		{Name: exam.SecuredSilent, Fixture: tlsfault.OverTLS{Then: silent}, Knob: read, Want: exam.AtLimit(sockettest.TimedOut).OnceSecured(), Op: ping(overTLS(readTimeout)),
			KernelOnly: kernel, Limit: 2 * time.Second}, // twice would be too late
	})
}

// laterDialTimeout ends the dial after the call: the context does not.
func laterDialTimeout(o *redis.Options, d time.Duration) { o.DialTimeout = 4 * d }

// FINDINGS.md, redis 6: with a Dialer, TLSConfig is not used: what the server gets is plain text, and the password in it.
func TestDialerTurnsTLSOff(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, silent)
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(p.Limit), ping(overTLS(func(o *redis.Options, d time.Duration) {
			readTimeout(o, d)
			o.Password = "secret"
		}))(t, p))
		assert.Contains(t, string(p.Conns()[0].First()), "hello\r\n$1\r\n3\r\n$4\r\nauth\r\n$7\r\ndefault\r\n$6\r\nsecret")
	})
}

// FINDINGS.md, redis 7: each command dials five times, as into a black hole, and is not tried again after those.
func TestDefaultsOverTLS(t *testing.T) {
	t.Parallel()
	const limit, pauses = 100 * time.Millisecond, 4 * 100 * time.Millisecond
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		limit   time.Duration
		want    sockettest.Want
	}{
		{"stalled", tlsfault.Stall{At: tlsfault.AfterServerHello}, limit, sockettest.TimedOut.After(5*limit + pauses).Before(time.Minute)},
		{"not trusted", tlsfault.Untrusted{}, time.Hour, sockettest.Rejected.After(pauses).Before(time.Minute).In("handshake")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sockettest.NoLeaks(t)
			p := exam.Place{Endpoint: sockettest.Start(t, tt.fixture)}
			sockettest.Expect(t, p.Endpoint, tt.want, ping(overTLS(func(o *redis.Options, d time.Duration) {
				defaults(o, d)
				o.DialTimeout = tt.limit
			}))(t, p))
			assert.LessOrEqual(t, len(p.Conns()), 5) // a machine that stalls may end an attempt before it has connected
			if tt.limit == time.Hour {
				assert.Len(t, p.Conns(), 5)
			}
		})
	}
}
