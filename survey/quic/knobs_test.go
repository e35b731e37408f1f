package quic_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

var update = flag.Bool("update", false, "write the rows of ../../docs/knobs.md")

// A knob is a row of docs/knobs.md, and the test that proves it, in virtual time: with the knob, and without.
type knob struct {
	name, trips   string // in Markdown
	with, without sockettest.Want
	note          string
	run           func(t *testing.T, nw *simnet.Network, set bool) (op func(context.Context) error, ep *udp.Endpoint)
}

const (
	limit   = 20 * time.Second
	noIdle  = 10 * time.Minute // more than a row takes
	forever = time.Hour
)

var knobs = []knob{
	{"Config.HandshakeIdleTimeout", "`udp.Silent`", sockettest.TimedOut.At(limit), sockettest.TimedOut.At(5 * time.Second), "",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			return dialSilent(t, nw, quic.Config{HandshakeIdleTimeout: when(set, limit)})
		}},
	{"ctx of Transport.Dial", "`udp.Silent`", sockettest.TimedOut.At(limit), sockettest.TimedOut.At(time.Hour), "with HandshakeIdleTimeout: 1 h",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			op, ep := dialSilent(t, nw, quic.Config{HandshakeIdleTimeout: time.Hour})
			return within(set, op), ep
		}},
	{"Config.InitialPacketSize", "`simnet.Link.MTU(1250)`", sockettest.Accepted.AtOnce(), sockettest.TimedOut.At(5 * time.Second),
		"set to 1200, at both ends; the default is 1280",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			nw.MTU(1250)
			conf := &quic.Config{InitialPacketSize: when(set, uint16(1200))}
			s := serve(t, nw, "", conf, nil)
			ep := sockettest.Start(t, udp.Forward{To: s.addr}, sockettest.On(nw))
			c := on(t, nw)
			return func(ctx context.Context) error {
				conn, err := c.dial(ctx, ep.Addr(), conf)
				if err == nil {
					err = conn.CloseWithError(0, "")
				}
				return err
			}, ep
		}},
	{"Config.MaxIdleTimeout", "`udp.Silent`, from a question on", sockettest.TimedOut.At(limit), sockettest.TimedOut.At(30 * time.Second), "the smaller of both ends' counts",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			conn, ep := established(t, nw, quic.Config{MaxIdleTimeout: when(set, limit)})
			return func(ctx context.Context) error { return ask(ctx, conn, "still there?") }, silenced(t, ep)
		}},
	{"Stream.SetReadDeadline", "a server that does not answer", sockettest.TimedOut.At(limit), sockettest.Blocked.For(forever), "with KeepAlivePeriod",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			conn, ep := established(t, nw, quic.Config{KeepAlivePeriod: 10 * time.Second})
			return within(set, func(ctx context.Context) error { return ask(ctx, conn, (2 * forever).String()) }), ep
		}},
	{"Config.KeepAlivePeriod", "`simnet.Link.Forget(1m0s)`, an answer after 5 min", sockettest.Accepted.At(5 * time.Minute), sockettest.TimedOut.After(noIdle).Slack(time.Second),
		"set to 30 s, and MaxIdleTimeout to 10 min",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			conn, ep := established(t, nw, quic.Config{MaxIdleTimeout: noIdle, KeepAlivePeriod: when(set, 30*time.Second)})
			nw.Forget(time.Minute)
			return func(ctx context.Context) error { return ask(ctx, conn, "5m") }, ep
		}},
	{"Transport.StatelessResetKey", "a server that was started again", sockettest.ErrorAs(func(*quic.StatelessResetError) bool { return true }).AtOnce(),
		sockettest.TimedOut.At(30 * time.Second), "at the server, and the same as before",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			conn, ep := restarted(t, nw, when(set, &quic.StatelessResetKey{1}))
			return func(ctx context.Context) error { return ask(ctx, conn, strings.Repeat("who am I? ", 10)) }, ep
		}},
	{"http.Client.Timeout with http3.Transport", "a server that does not answer", sockettest.TimedOut.At(limit), sockettest.Blocked.For(forever),
		"http3.Transport keeps the connection alive by itself",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			c, ep := browsing(t, nw)
			c.Timeout = when(set, limit)
			return func(ctx context.Context) error { return post(ctx, c, ep.Addr(), "/never", "") }, ep
		}},
	{"ctx of Request with http3.Transport", "a body that does not end",
		sockettest.ErrorAs(func(e *http3.Error) bool { return e.ErrorCode == http3.ErrCodeRequestCanceled }).At(limit), sockettest.Blocked.For(forever),
		"the error is H3_REQUEST_CANCELLED, and none of the context's",
		func(t *testing.T, nw *simnet.Network, set bool) (func(context.Context) error, *udp.Endpoint) {
			c, ep := browsing(t, nw)
			return within(set, func(ctx context.Context) error { return post(ctx, c, ep.Addr(), "/body", "") }), ep
		}},
}

// when returns v, or the zero value, which leaves a knob alone.
func when[T any](set bool, v T) (zero T) {
	if set {
		return v
	}
	return zero
}

// within bounds the operation's context, if that is the knob.
func within(set bool, op func(context.Context) error) func(context.Context) error {
	if !set {
		return op
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return op(ctx)
	}
}

func dialSilent(t *testing.T, nw *simnet.Network, conf quic.Config) (op func(context.Context) error, ep *udp.Endpoint) {
	t.Helper()
	ep = sockettest.Start(t, udp.Silent{}, sockettest.On(nw))
	c := on(t, nw)
	return func(ctx context.Context) error { _, err := c.dial(ctx, ep.Addr(), &conf); return err }, ep
}

// established has a connection to a server that lets its clients be idle for long.
func established(t *testing.T, nw *simnet.Network, conf quic.Config) (*quic.Conn, *udp.Endpoint) {
	t.Helper()
	s := serve(t, nw, "", &quic.Config{MaxIdleTimeout: noIdle}, nil)
	ep := sockettest.Start(t, udp.Forward{To: s.addr}, sockettest.On(nw))
	return on(t, nw).connect(t, ep.Addr(), &conf), ep
}

func silenced(t *testing.T, ep *udp.Endpoint) *udp.Endpoint {
	t.Helper()
	require.NoError(t, ep.Become(udp.Silent{}))
	return ep
}

// restarted has a connection to a server that has ended without a word, and another one at its address.
func restarted(t *testing.T, nw network.Stack, key *quic.StatelessResetKey) (*quic.Conn, *udp.Endpoint) {
	t.Helper()
	s := serve(t, nw, "", nil, key)
	ep := sockettest.Start(t, udp.Forward{To: s.addr}, sockettest.On(nw))
	conn := on(t, nw).connect(t, ep.Addr(), nil)
	s.close()
	serve(t, nw, s.addr, nil, key)
	return conn, ep
}

func browsing(t *testing.T, nw *simnet.Network) (*http.Client, *udp.Endpoint) {
	t.Helper()
	ep := sockettest.Start(t, udp.Forward{To: serveHTTP(t, nw)}, sockettest.On(nw))
	return browser(t, nw, nil), ep
}

func TestKnobs(t *testing.T) {
	t.Parallel()
	for _, k := range knobs {
		for set, want := range map[bool]sockettest.Want{true: k.with, false: k.without} {
			t.Run(fmt.Sprintf("%s set %v", k.name, set), func(t *testing.T) {
				t.Parallel()
				sockettest.Bubble(t, func(t *testing.T) {
					sockettest.NoLeaks(t)
					op, ep := k.run(t, simnet.New(t), set)
					sockettest.Expect(t, ep, want, op)
				})
			})
		}
	}
}

// A server ends the connection of a client that vanished.
func TestServerIdle(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{0, limit} {
		sockettest.Bubble(t, func(t *testing.T) {
			sockettest.NoLeaks(t)
			nw := simnet.New(t)
			s := serve(t, nw, "", &quic.Config{MaxIdleTimeout: idle}, nil)
			on(t, nw).connect(t, s.addr, &quic.Config{MaxIdleTimeout: noIdle})
			nw.Partition()
			begin := time.Now()
			<-(<-s.conns).Context().Done()
			assert.Equal(t, cmp.Or(idle, 30*time.Second), time.Since(begin))
		})
	}
}

func (k knob) row() string {
	without := "no: " + plain(k.without)
	if strings.HasPrefix(k.without.String(), sockettest.Blocked.String()) {
		without = "yes"
	}
	if k.note != "" {
		without += "; " + k.note
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", k.name, k.trips, plain(k.with), without)
}

func plain(w sockettest.Want) string {
	return strings.Replace(strings.TrimSuffix(w.String(), " exactly"), " for which the function holds", "", 1)
}

// TestKnobsTable: docs/knobs.md says what the tests prove.
func TestKnobsTable(t *testing.T) {
	const file, title = "../../docs/knobs.md", "\n## quic-go: QUIC and HTTP/3\n"
	var b strings.Builder
	b.WriteString(title + "The survey's: `cd survey && go test ./quic`. These are set to 20 s, since quic-go's own are 5 s and 30 s; forever is an hour.\n\n| knob | fixture that trips it | outcome | without it waits forever? |\n|---|---|---|---|\n")
	for _, k := range knobs {
		b.WriteString(k.row())
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	others, rows, _ := strings.Cut(string(got), title)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(others+b.String()), 0o644))
		return
	}
	assert.Equal(t, b.String(), title+rows, "out of date: cd survey && go test ./quic -run Knobs -update")
}
