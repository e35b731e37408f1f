package overall_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func httpServerKnobs() []knob {
	gone := sockettest.Disconnected.At(knobLimit)
	return []knob{
		{name: "Server.ReadHeaderTimeout", trip: hostile.Slowloris{}, with: gone, without: waits, note: "ReadTimeout stands in for it",
			run: hosted(slowloris, func(s *http.Server, d time.Duration) { s.ReadHeaderTimeout = d })},
		{name: "Server.ReadTimeout", trip: hostile.SlowBody{}, with: gone, without: waits, note: "ReadHeaderTimeout does not end it",
			run: hosted(slowBody, func(s *http.Server, d time.Duration) { s.ReadTimeout, s.ReadHeaderTimeout = d, knobLimit/2 })},
		{name: "Server.WriteTimeout", trip: hostile.NeverRead{}, with: gone, without: waits,
			run: hosted(neverRead, func(s *http.Server, d time.Duration) { s.WriteTimeout = d })},
		{name: "Server.IdleTimeout", trip: "a client between two requests", with: sockettest.Closed.At(knobLimit), without: waits,
			note: "ReadTimeout stands in for it", run: hosted(idles, func(s *http.Server, d time.Duration) { s.IdleTimeout = d })},
		{name: "Server.ReadHeaderTimeout", trip: hostile.SlowHello{}, with: gone, without: waits,
			note: "a TLS handshake has the least of it, ReadTimeout and WriteTimeout",
			run:  hosted(slowHello, func(s *http.Server, d time.Duration) { s.TLSConfig, s.ReadHeaderTimeout = tlsfault.ServerConfig(), d })},
		{name: "Server.WriteTimeout", trip: hostile.StalledTLS{}, with: gone, without: waits, note: "the same",
			run: hosted(stalledTLS, func(s *http.Server, d time.Duration) { s.TLSConfig, s.WriteTimeout = tlsfault.ServerConfig(), d })},
		{name: "ResponseController.SetReadDeadline", trip: hostile.SlowBody{}, with: gone, without: waits,
			run: hosted(slowBody, inHandler((*http.ResponseController).SetReadDeadline))},
		{name: "ResponseController.SetWriteDeadline", trip: hostile.NeverRead{}, with: gone, without: waits,
			run: hosted(neverRead, inHandler((*http.ResponseController).SetWriteDeadline))},
		{name: "TimeoutHandler", trip: "a handler that waits for its request's context", with: sockettest.TimedOut.At(knobLimit), without: waits,
			note: "the client gets 503, and a handler that ignores its context goes on", run: timeoutHandler},
		{name: "ctx of Server.Shutdown", trip: hostile.SlowBody{}, with: sockettest.TimedOut.At(knobLimit), without: waits,
			note: "it waits for each request that has begun", run: shutdown},
		{name: "HTTP2Config.SendPingTimeout", trip: hostile.StalledH2{}, with: sockettest.Disconnected.At(knobLimit + 15*time.Second), without: waits,
			note: "it is the time up to the PING, PingTimeout that from there on",
			run:  hosted(stalledH2, func(s *http.Server, d time.Duration) { s.HTTP2.SendPingTimeout = d })},
		{name: "HTTP2Config.PingTimeout", trip: hostile.StalledH2{}, with: sockettest.Disconnected.At(time.Second + knobLimit),
			without: sockettest.Disconnected.At(time.Second + 15*time.Second), note: "with SendPingTimeout of 1 s; 15 s is the default",
			run: hosted(stalledH2, func(s *http.Server, d time.Duration) { s.HTTP2.SendPingTimeout, s.HTTP2.PingTimeout = time.Second, d })},
		{name: "Server.IdleTimeout", trip: hostile.StalledH2{}, with: sockettest.Disconnected.At(knobLimit + time.Second), without: waits,
			note: "it ends 1 s after the GOAWAY", run: hosted(stalledH2, func(s *http.Server, d time.Duration) { s.IdleTimeout = d })},
		{name: "Server.WriteTimeout", trip: hostile.ClosedWindow{}, with: sockettest.TimedOut.At(knobLimit), without: waits,
			note: "the handler's write fails and its stream ends; the connection stays until IdleTimeout", run: closedWindow},
		{name: "HTTP2Config.WriteByteTimeout", trip: hostile.NeverRead{}, with: sockettest.Canceled.At(2 * knobLimit), without: waits,
			note: "the context of the request ends; if bytes were written meanwhile, the limit begins again when it has passed", run: writeByteTimeout},
	}
}

// Clients that outlast a day.
func slowloris(s string) hostile.Fixture { return hostile.Slowloris{Target: s, Every: time.Minute} }
func slowBody(s string) hostile.Fixture  { return hostile.SlowBody{Target: s, Every: time.Minute} }
func slowHello(s string) hostile.Fixture { return hostile.SlowHello{Target: s, Every: 2 * time.Minute} }
func neverRead(s string) hostile.Fixture { return hostile.NeverRead{Target: s} }

func stalledTLS(s string) hostile.Fixture { return hostile.StalledTLS{Target: s} }
func stalledH2(s string) hostile.Fixture  { return hostile.StalledH2{Target: s, Settings: true} }

// idles sends all of a request at once, and no other.
func idles(s string) hostile.Fixture { return hostile.SlowBody{Target: s, Body: "x"} }

// hosted is the trial of a web server against a client that misbehaves.
func hosted(client func(target string) hostile.Fixture, set func(s *http.Server, limit time.Duration)) trial {
	return func(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
		srv := webServer()
		set(srv, limit)
		return sockettest.ExpectEnd(t, sockettest.Start(t, client(host(t, nw, srv)), sockettest.On(nw)), want)
	}
}

// webServer reads what it is sent, and answers with more than any buffer holds.
func webServer() *http.Server {
	srv := &http.Server{HTTP2: &http.HTTP2Config{}, Protocols: &http.Protocols{}, ErrorLog: log.New(io.Discard, "", 0)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	srv.Handler = http.HandlerFunc(readAndAnswer)
	return srv
}

func readAndAnswer(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		_, _ = w.Write(make([]byte, 1<<20))
	}
}

// host runs a server until the end of the test, over TLS if it has a configuration for that, and
// returns its address.
func host(t *testing.T, nw network.Stack, srv *http.Server) string {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if srv.TLSConfig != nil {
		ln = tls.NewListener(ln, srv.TLSConfig)
	}
	var wg sync.WaitGroup
	wg.Go(func() { assert.ErrorIs(t, srv.Serve(ln), http.ErrServerClosed) })
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
		if nw != sockettest.Kernel {
			time.Sleep(time.Second) // rules:allow in a bubble, which must not end before net/http's half-closed connections
		}
	})
	return ln.Addr().String()
}

// inHandler has each request set its own limit.
func inHandler(set func(*http.ResponseController, time.Time) error) func(*http.Server, time.Duration) {
	return func(s *http.Server, limit time.Duration) {
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if limit > 0 {
				_ = set(http.NewResponseController(w), time.Now().Add(limit))
			}
			readAndAnswer(w, r)
		})
	}
}

// handled has a server tell of its requests, once they have begun.
func handled(srv *http.Server) <-chan context.Context {
	begun := make(chan context.Context, 1)
	next := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- r.Context()
		next.ServeHTTP(w, r)
	})
	return begun
}

func shutdown(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	srv := webServer()
	begun := handled(srv)
	a := sockettest.Start(t, slowBody(host(t, nw, srv)), sockettest.On(nw))
	<-begun
	return sockettest.Expect(t, a, want, func(ctx context.Context) error {
		ctx, cancel := within(ctx, limit)
		defer cancel()
		return srv.Shutdown(ctx)
	})
}

func timeoutHandler(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	srv := webServer()
	srv.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the client's end, too, is told only to who has read all
		<-r.Context().Done()
	})
	begun := handled(srv)
	if limit > 0 {
		srv.Handler = http.TimeoutHandler(srv.Handler, limit, "")
	}
	a := sockettest.Start(t, idles(host(t, nw, srv)), sockettest.On(nw))
	return sockettest.Expect(t, a, want, untilDone(<-begun))
}

// untilDone waits for the end of a request.
func untilDone(request context.Context) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-request.Done():
			return request.Err()
		case <-ctx.Done():
			return nil
		}
	}
}

// closedWindow is judged by the handler's write.
func closedWindow(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	srv := webServer()
	srv.WriteTimeout = limit
	wrote := make(chan error, 1)
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 1<<20))
		wrote <- err
	})
	a := sockettest.Start(t, hostile.ClosedWindow{Target: host(t, nw, srv)}, sockettest.On(nw))
	return sockettest.Expect(t, a, want, func(ctx context.Context) error {
		select {
		case err := <-wrote:
			return err
		case <-ctx.Done():
			return nil
		}
	})
}

// wideH2 is a request by HTTP/2 of a client that has windows for all there is: preface, SETTINGS
// with the largest INITIAL_WINDOW_SIZE, WINDOW_UPDATE for the connection, and HEADERS of GET / (RFC
// 9113, section 6; RFC 7541, appendix A).
const wideH2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
	"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x04\x7f\xff\xff\xff" +
	"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + "\x7f\xff\x00\x00" +
	"\x00\x00\x0e\x01\x05\x00\x00\x00\x01" + "\x82\x86\x84\x41\x09localhost"

// writeByteTimeout is judged by the request's context: to a client that does not read, the end of
// the connection is not told.
func writeByteTimeout(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
	srv := webServer()
	srv.HTTP2.WriteByteTimeout = limit
	begun := handled(srv)
	a := sockettest.Start(t, hostile.NeverRead{Target: host(t, nw, srv), Data: wideH2, Times: 1}, sockettest.On(nw))
	return sockettest.Expect(t, a, want, untilDone(<-begun))
}
