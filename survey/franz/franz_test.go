// Package franz holds twmb/franz-go to its limits.
package franz

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// client names it in the table.
var client = exam.Client{Name: "franz-go", Module: "github.com/twmb/franz-go", Peer: obliging}

func TestMain(m *testing.M) { sockettest.Main(m) }

// greeted is a broker that says which requests it knows, and answers none of them.
var greeted = broker(false)

// obliging is a broker that answers, though it knows of no topic.
var obliging = exam.Honest(broker(true))

func broker(oblige bool) fixtures.Scripted {
	return fixtures.Scripted{Steps: script.Script{script.Forever(script.Answer(script.Frame{Length: 4}, func(request string) ([]string, error) {
		key, version := kmsg.Key(binary.BigEndian.Uint16([]byte(request))), int16(binary.BigEndian.Uint16([]byte(request[2:])))
		var answer kmsg.Response
		switch {
		case key == kmsg.ApiVersions:
			r := kmsg.NewPtrApiVersionsResponse()
			for _, k := range []kmsg.Key{kmsg.Metadata, kmsg.ApiVersions} {
				r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k.Int16(), MaxVersion: 3})
			}
			answer = r
		case key == kmsg.Metadata && oblige:
			answer = kmsg.NewPtrMetadataResponse()
		default:
			return nil, nil
		}
		answer.SetVersion(version)
		return []string{string(answer.AppendTo([]byte(request[4:8])))}, nil
	}))}}
}

// open returns a client that tries once.
func open(t testing.TB, p exam.Place, set func(time.Duration) []kgo.Opt) *kgo.Client {
	t.Helper()
	opts := append([]kgo.Opt{kgo.SeedBrokers(p.Addr()), kgo.RequestRetries(0)}, set(p.Limit)...)
	if p.Virtual {
		opts = append(opts, kgo.Dialer(limited(p, p.Limit)))
	}
	c, err := kgo.NewClient(opts...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// limited dials within a limit, since kgo.DialTimeout is not for a dialer of one's own.
func limited(p exam.Place, max time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, host string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, max)
		defer cancel()
		return p.DialContext(ctx, network, host)
	}
}

type op = func(testing.TB, exam.Place) func(context.Context) error

// request connects and asks for what the broker knows.
func request(set func(time.Duration) []kgo.Opt) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := open(t, p, set)
		return func(ctx context.Context) error {
			_, err := c.Request(ctx, kmsg.NewPtrMetadataRequest())
			return err
		}
	}
}

// requestWithin does so with a context that ends.
func requestWithin(set func(time.Duration) []kgo.Opt) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		op := request(set)(t, p)
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			return op(ctx)
		}
	}
}

func dialTimeout(d time.Duration) []kgo.Opt { return []kgo.Opt{kgo.DialTimeout(d)} }
func overhead(d time.Duration) []kgo.Opt    { return []kgo.Opt{kgo.RequestTimeoutOverhead(d)} }

// none leaves it to others to set a limit.
func none(time.Duration) []kgo.Opt {
	return []kgo.Opt{kgo.DialTimeout(time.Minute), kgo.RequestTimeoutOverhead(time.Minute)}
}

func TestFranz(t *testing.T) {
	t.Parallel()
	const (
		dial  = "kgo.DialTimeout (default 10s)"
		reply = "kgo.RequestTimeoutOverhead (default 10s)"
		ctx   = "the context"
	)
	exam.Run(t, client, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: dial, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: request(dialTimeout)},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: dial, Want: exam.AtLimit(sockettest.TimedOut).In("connect").Times(2), Op: request(dialTimeout)},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: reply, Want: exam.AtLimit(sockettest.TimedOut).Times(2), Op: request(overhead)},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: reply, Want: exam.AtOnce(sockettest.ResetByPeer), Op: request(overhead)},
		{Name: exam.WentSilent, Fixture: greeted, Knob: reply, Want: exam.AtLimit(sockettest.TimedOut), Op: request(overhead),
			Limit: 2 * time.Second}, // within which a machine that stalls must greet, too
		{Name: exam.BlackHoled + ", context", Fixture: fixtures.BlackHole{}, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: requestWithin(none)},
		{Name: exam.Unanswered + ", context", Fixture: fixtures.Silent{}, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: requestWithin(none)},
		{Name: exam.WentSilent + ", context", Fixture: greeted, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: requestWithin(none)},
	})
}
