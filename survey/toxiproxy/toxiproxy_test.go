// Package toxiproxy_test holds fixtures.Forward beside the proxy that most tests use today, in the same situations. What
// toxiproxy does is what it does at the version in go.mod.
package toxiproxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
)

func TestMain(m *testing.M) { sockettest.Main(m) }

// ample is what nothing here takes.
const ample = time.Minute

// A toxi is a toxiproxy in this process.
type toxi struct{ *toxiproxy.Proxy }

// before starts one before a server.
func before(t testing.TB, upstream string) toxi {
	t.Helper()
	srv := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := toxiproxy.NewProxy(srv, t.Name(), "127.0.0.1:0", upstream)
	require.NoError(t, p.Start())
	t.Cleanup(p.Stop)
	return toxi{p}
}

// Addr is where clients connect.
func (p toxi) Addr() string { return p.Listen }

// A relay is what stands between a client and a server.
type relay struct {
	name  string
	start func(t testing.TB, upstream string) (addr string)
}

var direct = relay{"direct", func(_ testing.TB, upstream string) string { return upstream }}

var forward = relay{"Forward", func(t testing.TB, upstream string) string {
	t.Helper()
	return sockettest.Start(t, fixtures.Forward{To: upstream}).Addr()
}}

var proxied = relay{"toxiproxy", func(t testing.TB, upstream string) string {
	t.Helper()
	return before(t, upstream).Addr()
}}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := (&net.Dialer{Timeout: ample}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(ample)))
	return c.(*net.TCPConn)
}

// An answer that comes after the client's FIN.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	for r, want := range map[*relay]string{&direct: "bye", &forward: "bye", &proxied: ""} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			server := sockettest.Start(t, fixtures.HalfClose{Data: "bye", AfterFIN: true})
			c := dial(t, r.start(t, server.Addr()))
			require.NoError(t, c.CloseWrite())
			got, err := io.ReadAll(c)
			assert.Equal(t, want, string(got), "%v", err)
		})
	}
}

// A server that resets an established connection, on which nothing is under way.
func TestServerResets(t *testing.T) {
	t.Parallel()
	for r, want := range map[*relay]error{&direct: syscall.ECONNRESET, &forward: syscall.ECONNRESET, &proxied: io.EOF} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			server := sockettest.Start(t, fixtures.Echo{})
			c := dial(t, r.start(t, server.Addr()))
			_, err := io.WriteString(c, "x")
			require.NoError(t, err)
			_, err = io.ReadFull(c, make([]byte, 1))
			require.NoError(t, err)
			require.NoError(t, server.Conns()[0].Reset())
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, want)
		})
	}
}

// A client that resets: is the server told?
func TestClientResets(t *testing.T) {
	t.Parallel()
	for r, want := range map[*relay]fixtures.PeerEnd{&direct: fixtures.RST, &forward: fixtures.RST, &proxied: fixtures.FIN} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			server := sockettest.Start(t, fixtures.Echo{})
			c := dial(t, r.start(t, server.Addr()))
			_, err := io.WriteString(c, "x")
			require.NoError(t, err)
			_, err = io.ReadFull(c, make([]byte, 1))
			require.NoError(t, err)
			require.NoError(t, c.SetLinger(0))
			require.NoError(t, c.Close())
			require.NoError(t, server.Await(t.Context(), fixtures.Ended, 1))
			end, _ := server.Conns()[0].PeerEnd()
			assert.Equal(t, want, end)
		})
	}
}

// A server that refuses: neither proxy can refuse for it any more. One resets, the other ends as a server does that is done.
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	toNowhere := relay{"Forward", func(t testing.TB, upstream string) string {
		t.Helper()
		return sockettest.Start(t, fixtures.Forward{To: upstream, MayBeDown: true}).Addr()
	}}
	for r, want := range map[*relay]error{&direct: syscall.ECONNREFUSED, &toNowhere: syscall.ECONNRESET, &proxied: io.EOF} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			addr := r.start(t, sockettest.Start(t, fixtures.Refused{}).Addr())
			c, err := (&net.Dialer{Timeout: ample}).DialContext(t.Context(), "tcp", addr)
			if err == nil {
				defer c.Close()
				_, err = c.Read(make([]byte, 1))
			}
			require.ErrorIs(t, err, want)
		})
	}
}

// A reset that the test wants now, of a connection on which the client waits for an answer.
func TestResetOnDemand(t *testing.T) {
	t.Parallel()
	server := sockettest.Start(t, fixtures.Silent{})

	ep := sockettest.Start(t, fixtures.Forward{To: server.Addr()})
	c := dial(t, ep.Addr())
	require.NoError(t, ep.Await(t.Context(), fixtures.Connected, 1))
	require.NoError(t, ep.Conns()[0].Reset())
	sockettest.Expect(t, ep, sockettest.ResetByPeer.Before(time.Second), reading(c))

	p := before(t, server.Addr())
	c = dial(t, p.Addr())
	require.NoError(t, server.Await(t.Context(), fixtures.ConnAccepted, 2))
	_, err := p.Toxics.AddToxicJson(strings.NewReader(`{"type": "reset_peer", "stream": "downstream"}`))
	require.NoError(t, err)
	sockettest.Expect(t, server, sockettest.Blocked.For(300*time.Millisecond), reading(c)) // until something flows
}

// reading reads until its context ends.
func reading(c net.Conn) func(context.Context) error {
	return func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		_, err := c.Read(make([]byte, 1))
		return err
	}
}

// What no proxy can do, since its kernel answers: a connect that hangs, and a cable that is pulled from what is connected.
func TestBelowTheHandshake(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	server := sockettest.Start(t, fixtures.Echo{})
	to := fixtures.Forward{To: server.Addr()}
	ep := sockettest.Start(t, to)
	c := dial(t, ep.Addr())
	_, err := io.WriteString(c, "before")
	require.NoError(t, err)
	got := make([]byte, 6)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)

	heal := ep.Partition()
	sockettest.Expect(t, ep, sockettest.TimedOut.After(limit).In("connect"), func(ctx context.Context) error {
		c, err := (&net.Dialer{Timeout: limit}).DialContext(ctx, "tcp", ep.Addr())
		if err == nil {
			err = errors.Join(errors.New("it answered"), c.Close())
		}
		return err
	})
	_, err = io.WriteString(c, "during")
	require.NoError(t, err)
	in, _ := server.Conns()[0].Bytes()
	assert.EqualValues(t, 6, in)
	heal()
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	assert.Equal(t, "during", string(got))
}
