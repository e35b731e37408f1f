package sockettest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// A web server is shut down gracefully for a while, and then closed.
type web struct {
	tls, h2  bool
	graceful time.Duration // 0 is none: requests are lost
	close    bool          // it closes in the end
	busy     *atomic.Bool  // a request is under way, for which it has all the time
}

func (w web) serve(t testing.TB, ln net.Listener, handler http.Handler) func(context.Context) error {
	t.Helper()
	srv := &http.Server{Handler: handler, TLSConfig: tlsfault.ServerConfig(), Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(w.tls)
	srv.Protocols.SetUnencryptedHTTP2(!w.tls)
	var wg sync.WaitGroup
	wg.Go(func() {
		if w.tls {
			_ = srv.ServeTLS(ln, "", "")
		} else {
			_ = srv.Serve(ln)
		}
	})
	t.Cleanup(func() { _ = srv.Close(); wg.Wait() })
	return func(ctx context.Context) error {
		patience := w.graceful
		if w.busy != nil && w.busy.Load() && w.graceful > 0 {
			patience = time.Minute // a machine that stalls must not lose the request
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := srv.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) && w.close {
			return srv.Close()
		}
		return err
	}
}

// server makes the web server one for Shutdown.
func (w web) server(limit time.Duration) sockettest.Server {
	busy, release := make(chan struct{}, 1), make(chan struct{})
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			busy <- struct{}{}
			<-release
		}
		_, _ = rw.Write([]byte("ok"))
	})
	w.busy = new(atomic.Bool)
	s := sockettest.Server{Limit: limit, TLS: w.tls, H2: w.h2}
	s.Serve = func(t testing.TB, ln net.Listener) func(context.Context) error { return w.serve(t, ln, handler) }
	if w.h2 {
		s.Request = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		return s
	}
	s.Begin = func(t testing.TB, front *fixtures.Endpoint) func() error {
		tr := &http.Transport{DialContext: front.DialContext, TLSClientConfig: tlsfault.ClientConfig()}
		t.Cleanup(tr.CloseIdleConnections)
		scheme := map[bool]string{false: "http://", true: "https://"}[w.tls]
		done := make(chan error, 1)
		go func() {
			resp, err := (&http.Client{Transport: tr}).Get(scheme + front.Addr() + "/busy")
			if err == nil {
				err = resp.Body.Close()
			}
			done <- err
		}()
		<-busy
		w.busy.Store(true)
		return func() error { close(release); return <-done }
	}
	return s
}

func TestShutdownOfNetHTTP(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]web{
		"HTTP/1.1": {}, "TLS": {tls: true}, "HTTP/2": {h2: true}, "HTTP/2 over TLS": {h2: true, tls: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.close, w.graceful = true, 20*time.Millisecond
			sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
				sockettest.NoLeaks(t)
				sockettest.Shutdown(t, w.server(10*time.Second), sockettest.On(nw))
			})
		})
	}
}

// A shutdown that waits for its clients, and one that loses a request, fail the test.
func TestShutdownThatIsBad(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		server   web
		fails    string   // what the report says
		fixtures []string // the clients that it is about
	}{
		"waits": {web{graceful: time.Hour}, "want accepted", []string{"NeverRead{"}},
		"loses": {web{close: true}, "a request that the server was at work on is lost", []string{"Forward{"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				nw := simnet.New(t)
				tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Shutdown(tb, tt.server.server(10*time.Second), sockettest.On(nw)) })
				assert.Contains(t, tb.Text(), tt.fails)
				for _, f := range tt.fixtures {
					assert.Contains(t, tb.Text(), f)
				}
				assert.NotContains(t, tb.Text(), "ConnectOnly{", "net/http ends it after 5 s")
			})
		})
	}
}

// A shutdown that fails does so beside each kind of client.
func TestShutdownTriesEachClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tls, h2 bool
		clients []string
	}{
		{false, false, []string{"ConnectOnly{", `Script{Send("he"), Discard()}`, `Script{DripFor("hello", 4h0m0s), Discard()}`,
			`Script{Send("hello"), Read(1), Discard()}`, `Script{Send("hello"), HalfClose(), Discard()}`, "NeverRead{"}},
		{true, true, []string{"OverTLS{Then: ConnectOnly{", `Script{Send("he"), Discard()}`, `Script{DripFor("hello", 4h0m0s), Discard()}`,
			`Script{Send("hello"), Read(1), Discard()}`, `Script{Send("hello"), HalfClose(), Discard()}`, `Script{Send("PRI * HTTP/2.0`,
			`Script{Send("PRI * HTTP/2.0`, "OverTLS{Then: NeverRead{", "ConnectOnly{", "SlowHello{", "StalledTLS{"}},
	} {
		sockettest.Bubble(t, func(t *testing.T) {
			fails := func(srv *lineServer, ln net.Listener) error { return errors.Join(srv.close(ln), io.ErrNoProgress) }
			text := shutdownOfLines(t, sockettest.Server{TLS: tt.tls, H2: tt.h2}, fails)
			for _, client := range tt.clients {
				_, rest, found := strings.Cut(text, "want accepted\n")
				_, rest, shown := strings.Cut(rest, "\n  fixture  ")
				require.True(t, found && shown, client)
				line, _, _ := strings.Cut(rest, "\n")
				assert.Contains(t, line, client)
				text = rest
			}
			assert.NotContains(t, text, "want accepted")
		})
	}
}

// shutdownOfLines is what Shutdown says of a server that sends back what it gets.
func shutdownOfLines(t *testing.T, s sockettest.Server, shutdown func(*lineServer, net.Listener) error) string {
	t.Helper()
	s.Limit, s.Request = time.Hour, "hello"
	s.Serve = func(t testing.TB, ln net.Listener) func(context.Context) error {
		srv := &lineServer{}
		if s.TLS {
			ln = tls.NewListener(ln, tlsfault.ServerConfig())
		}
		go srv.serve(ln)
		t.Cleanup(func() { _ = srv.close(ln) })
		return func(context.Context) error { return shutdown(srv, ln) }
	}
	return faketb.Run(t, func(tb *faketb.TB) { sockettest.Shutdown(tb, s, sockettest.On(simnet.New(tb))) }).Text()
}

// One that returns nil and leaves connections open is found by these.
func TestShutdownLeavesConnectionsOpen(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		text := shutdownOfLines(t, sockettest.Server{}, func(_ *lineServer, ln net.Listener) error { return ln.Close() })
		assert.Contains(t, text, "connection #1: still open, want disconnected\n")
		assert.NotContains(t, text, "want accepted")
	})
}

// A server that never accepts is found before its shutdown.
func TestShutdownOfNoServer(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		deaf := sockettest.Server{Limit: time.Second, Serve: func(_ testing.TB, ln net.Listener) func(context.Context) error {
			return func(context.Context) error { return ln.Close() }
		}}
		tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Shutdown(tb, deaf, sockettest.On(nw)) })
		assert.Contains(t, tb.Text(), "the server does not answer Server.Request beside ConnectOnly{")
	})
}

func TestShutdownBadArguments(t *testing.T) {
	t.Parallel()
	serve := func(testing.TB, net.Listener) func(context.Context) error { return nil }
	for want, s := range map[string]sockettest.Server{
		"Server.Serve is nil; want a function":  {Limit: 1},
		"Server.Limit is 0s; want more than 0,": {Serve: serve},
		"Server.Limit is -1ns; want more than":  {Serve: serve, Limit: -1},
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Shutdown(tb, s) })
		assert.Contains(t, tb.Text(), "bad argument: sockettest.Shutdown: "+want)
	}
	sockettest.Shutdown(nil, sockettest.Server{}) // writes that t is nil
}
