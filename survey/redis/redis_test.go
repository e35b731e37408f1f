// Package redis holds redis/go-redis to its limits.
package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// client names it in the table.
var client = exam.Client{Name: "go-redis", Module: "github.com/redis/go-redis/v9", Peer: obliging}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	sockettest.Main(m)
}

// quiet keeps the client's log out of the tests' output.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// obliging is a server to which all is well.
var obliging = exam.Honest(serving("+OK\r\n"))

// serving answers the commands with which the client begins, HELLO and CLIENT, and each other with others, or not at all.
func serving(others ...string) fixtures.Scripted {
	return fixtures.Scripted{Steps: script.Script{script.Forever(script.Answer(script.Frame{Func: script.RESP}, func(command string) ([]string, error) {
		switch name, _, _ := strings.Cut(strings.ToLower(command), " "); name {
		case "hello":
			return []string{"%1\r\n$5\r\nproto\r\n:3\r\n"}, nil
		case "client":
			return []string{"+OK\r\n"}, nil
		}
		return others, nil
	}))}}
}

// silent is a server that lets the client in, and answers nothing else.
var silent = serving()

// open returns a client that leads to the fixture, and tries once: what it tries again by default has tests of its own.
func open(t testing.TB, p exam.Place, set func(*redis.Options, time.Duration)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: p.Addr(), DialerRetries: 1, MaxRetries: -1}
	if p.Virtual {
		o.Dialer = p.DialContext
	}
	set(o, p.Limit)
	c := redis.NewClient(o)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

type op = func(testing.TB, exam.Place) func(context.Context) error

// ping connects and asks.
func ping(set func(*redis.Options, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := open(t, p, set)
		return func(ctx context.Context) error { return c.Ping(ctx).Err() }
	}
}

// pingWithin does so with a context that ends.
func pingWithin(set func(*redis.Options, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := open(t, p, set)
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			return c.Ping(ctx).Err()
		}
	}
}

// pingCancelled cancels the context when the client has sent its first command.
func pingCancelled(t testing.TB, p exam.Place) func(context.Context) error {
	c := open(t, p, none)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer cancel()
			_ = p.Await(ctx, fixtures.Received, 1)
		}()
		return c.Ping(ctx).Err()
	}
}

func dialTimeout(o *redis.Options, d time.Duration) { o.DialTimeout = d }
func readTimeout(o *redis.Options, d time.Duration) { o.ReadTimeout = d }

// none leaves the call without a limit, as far as that can be: the zero value of each means 5 s.
func none(o *redis.Options, _ time.Duration) { o.DialTimeout, o.ReadTimeout = time.Hour, -1 }

// resp2 is the protocol without push messages, of which the client looks for one before each answer.
func resp2(o *redis.Options, d time.Duration) {
	readTimeout(o, d)
	o.Protocol = 2
}

// obeying makes the client obey the context once it is connected.
func obeying(o *redis.Options, d time.Duration) {
	none(o, d)
	o.ContextTimeoutEnabled = true
}

func TestRedis(t *testing.T) {
	t.Parallel()
	const (
		dial = "Options.DialTimeout (default 5s)"
		read = "Options.ReadTimeout (default 5s)"
		ctx  = "the context, with Options.ContextTimeoutEnabled"
		vain = "the context, without Options.ContextTimeoutEnabled (default), and no ReadTimeout (-1)"
	)
	exam.Run(t, client, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: dial, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: ping(dialTimeout)},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: dial, Want: exam.AtLimit(sockettest.TimedOut).In("connect"), Op: ping(dialTimeout)},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: read, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(readTimeout)},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: read, Want: exam.AtOnce(sockettest.Closed), Op: ping(readTimeout)},
		{Name: exam.ResetMidway + ", RESP2", Fixture: fixtures.Reset{}, Knob: read, Want: exam.AtOnce(sockettest.ResetByPeer), Op: ping(resp2)},
		{Name: exam.WentSilent, Fixture: silent, Knob: read, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(readTimeout)},
		{Name: exam.BlackHoled + ", context", Fixture: fixtures.BlackHole{}, Knob: "the context", Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(none),
			KernelOnly: "the dial outlives the call, which a bubble does not allow: see TestDialOutlivesCloseAndCaller"},
		{Name: exam.Unanswered + ", context", Fixture: fixtures.Silent{}, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(obeying)},
		{Name: exam.WentSilent + ", context", Fixture: silent, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(obeying)},
		{Name: exam.Unanswered + ", context not obeyed", Fixture: fixtures.Silent{}, Knob: vain, Want: exam.Never(), Op: pingCancelled},
		{Name: exam.WentSilent + ", context not obeyed", Fixture: silent, Knob: vain, Want: exam.Never().Times(3), Op: pingWithin(none),
			SimnetOnly: "on the kernel, a machine that stalls could let the context end before the client is connected"},
	})
}
