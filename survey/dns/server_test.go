package dns_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestServer(t *testing.T) {
	t.Parallel()
	q, err := question().Pack()
	require.NoError(t, err)
	exam.Defend(t, exam.Client{Name: "miekg/dns server", Module: "github.com/miekg/dns"}, []exam.Attack{
		{Name: "connects, then silent", Knob: "Server.ReadTimeout (default 2s)", Serve: serve, Want: exam.AtLimit(sockettest.Disconnected),
			Client: func(target string) hostile.Fixture { return hostile.ConnectOnly{Target: target} }},
		{Name: "question a byte at a time", Knob: "Server.ReadTimeout (default 2s)", Serve: serve, Want: exam.AtLimit(sockettest.Disconnected),
			Client: func(target string) hostile.Fixture {
				return hostile.Slowloris{Target: target, Data: "\xff\xff" + strings.Repeat("x", 0xffff), Every: 20 * time.Millisecond}
			}},
		{Name: "one question, then silent", Knob: "Server.IdleTimeout (default 8s)", Serve: serve, Want: exam.AtLimit(sockettest.Disconnected),
			Client: exam.Says(string(framed(q)))},
		{Name: "answers never read", Knob: "none: Server.WriteTimeout is not used", Serve: serveAtLength, Want: exam.Never(),
			Client: func(target string) hostile.Fixture { return hostile.NeverRead{Target: target, Data: string(framed(q))} }},
	})
}

func serve(t testing.TB, ln net.Listener, p exam.Place) {
	t.Helper()
	start(t, &dns.Server{Listener: ln, ReadTimeout: p.Limit, IdleTimeout: func() time.Duration { return p.Limit },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetReply(q)) })})
}

// serveAtLength answers with 50 KiB, which nobody's buffers hold for long. Its WriteTimeout is far shorter than what the test
// waits for.
func serveAtLength(t testing.TB, ln net.Listener, p exam.Place) {
	t.Helper()
	start(t, talkative(ln, p.Limit/10))
}

func talkative(ln net.Listener, limit time.Duration) *dns.Server {
	return &dns.Server{Listener: ln, MaxTCPQueries: -1, WriteTimeout: limit,
		ReadTimeout: time.Minute, IdleTimeout: func() time.Duration { return time.Minute }, // no question is to come too late
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			a := new(dns.Msg).SetReply(q)
			for range 200 {
				a.Answer = append(a.Answer, &dns.TXT{
					Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET},
					Txt: []string{strings.Repeat("x", 250)}})
			}
			_ = w.WriteMsg(a)
		})}
}

// start runs a server until the test ends.
func start(t testing.TB, srv *dns.Server) {
	t.Helper()
	begun, ended := make(chan struct{}), make(chan error, 1)
	srv.NotifyStartedFunc = func() { close(begun) }
	go func() { ended <- srv.ActivateAndServe() }()
	<-begun
	t.Cleanup(func() {
		assert.NoError(t, srv.Shutdown())
		assert.NoError(t, <-ended)
	})
}

// A client that does not read also keeps the server from being shut down, since its handler waits in a write that no
// deadline ends.
func TestShutdownWaitsForWhoNeverReads(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		nw := simnet.New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		srv := talkative(ln, time.Second)
		begun, ended := make(chan struct{}), make(chan error, 1)
		srv.NotifyStartedFunc = func() { close(begun) }
		go func() { ended <- srv.ActivateAndServe() }()
		<-begun
		q, err := question().Pack()
		require.NoError(t, err)
		attack := sockettest.Start(t, hostile.NeverRead{Target: ln.Addr().String(), Data: string(framed(q))}, sockettest.On(nw))
		time.Sleep(10 * time.Minute) // rules:allow in a bubble; all timeouts of the server have long passed
		sockettest.Expect(t, attack, sockettest.TimedOut.At(10*time.Minute), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
			defer cancel()
			return srv.ShutdownContext(ctx)
		})
		require.NoError(t, attack.Close()) // the client gives up
		require.NoError(t, <-ended)
	})
}
