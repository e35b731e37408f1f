package simnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// limit is each timeout of these tests.
const limit = 30 * time.Second

// get is one request, with a transport that has one timeout.
func get(nw *simnet.Network, address string, set func(*http.Transport)) func(context.Context) error {
	tr := &http.Transport{DialContext: nw.DialContext}
	set(tr)
	return func(ctx context.Context) error {
		defer tr.CloseIdleConnections()
		scheme := "http://"
		if tr.TLSHandshakeTimeout > 0 {
			scheme = "https://"
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+address, strings.NewReader("x"))
		if err != nil {
			return err
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
}

func TestTimeoutsOfAnHTTPClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		set     func(*http.Transport)
		want    sockettest.Want
	}{
		{"response header", fixtures.Silent{}, func(tr *http.Transport) { tr.ResponseHeaderTimeout = limit }, sockettest.TimedOut.At(limit)},
		{"TLS handshake", fixtures.Silent{}, func(tr *http.Transport) { tr.TLSHandshakeTimeout = limit }, sockettest.TimedOut.At(limit)},
		{"dial", fixtures.BlackHole{}, func(tr *http.Transport) { tr.DialContext = within(tr.DialContext) }, sockettest.TimedOut.At(limit)},
		{"the kernel's", fixtures.BlackHole{}, func(*http.Transport) {}, sockettest.TimedOut.At(131 * time.Second)},
		{"none", fixtures.Silent{}, func(*http.Transport) {}, sockettest.Blocked.For(24 * time.Hour)},
		{"a body that drips", fixtures.Scripted{Steps: script.Script{script.ReadUntil("\r\n\r\n"), script.Read(1),
			script.Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), script.Drip("hello", time.Hour), script.Stall()}},
			func(tr *http.Transport) { tr.ResponseHeaderTimeout = limit }, sockettest.Accepted.At(4 * time.Hour)},
		{"reset", fixtures.Reset{}, func(*http.Transport) {}, sockettest.Reset.At(0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				sockettest.NoLeaks(t)
				ep := sockettest.Start(t, tt.fixture, sockettest.On(nw))
				sockettest.Expect(t, ep, tt.want, get(nw, ep.Addr(), tt.set))
			})
		})
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// within bounds a dial, as net.Dialer.Timeout does.
func within(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return dial(ctx, network, address)
	}
}

// serve runs a server until the test ends.
func serve(t *testing.T, nw *simnet.Network, srv *http.Server) net.Addr {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { assert.ErrorIs(t, srv.Serve(ln), http.ErrServerClosed) })
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
	})
	return ln.Addr()
}

// A client that is too slow is shown the door at the exact time.
func TestTimeoutsOfAnHTTPServer(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
	for _, tt := range []struct {
		name string
		set  func(*http.Server)
		send string
		want time.Duration
	}{
		{"read header", func(s *http.Server) { s.ReadHeaderTimeout = limit }, "POST / HT", limit},
		{"read", func(s *http.Server) { s.ReadTimeout = limit }, head, limit},
		{"idle", func(s *http.Server) { s.IdleTimeout = limit }, head + "hello", limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
				tt.set(srv)
				c, err := nw.Dial("tcp", serve(t, nw, srv).String())
				require.NoError(t, err)
				defer c.Close()
				begin := time.Now()
				write(t, c, tt.send)
				_, err = io.Copy(io.Discard, c)
				require.NoError(t, err)
				assert.Equal(t, tt.want, time.Since(begin))
				time.Sleep(time.Second) // rules:allow in a bubble; a server half-closes and lingers for 500 ms (rstAvoidanceDelay)
			})
		})
	}
}

// A client that does not read stops a server that writes, up to its write timeout.
func TestWriteTimeoutOfAnHTTPServer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		ended := make(chan time.Time, 1)
		srv := &http.Server{WriteTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 16<<20))
			assert.ErrorContains(t, err, "i/o timeout")
			ended <- time.Now()
		})}
		c, err := nw.Dial("tcp", serve(t, nw, srv).String())
		require.NoError(t, err)
		defer c.Close()
		begin := time.Now()
		write(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		assert.Equal(t, limit, (<-ended).Sub(begin))
	})
}

// Over TLS, HTTP/2 included, as well: httptest's certificate is valid from 1970 on, and a bubble's clock starts in 2000.
func TestTimeoutsOverTLS(t *testing.T) {
	t.Parallel()
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				block := make(chan struct{})
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					assert.Equal(t, name, r.Proto)
					<-block
				}))
				_ = srv.Listener.Close()
				var err error
				srv.Listener, err = nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
				require.NoError(t, err)
				srv.EnableHTTP2 = h2
				srv.StartTLS()
				defer srv.Close()
				defer close(block)
				tr := srv.Client().Transport.(*http.Transport)
				tr.DialContext, tr.ResponseHeaderTimeout = nw.DialContext, limit
				begin := time.Now()
				_, err = srv.Client().Get(srv.URL)
				require.ErrorContains(t, err, "timeout awaiting response headers")
				assert.Equal(t, limit, time.Since(begin))
			})
		})
	}
}

// One connection serves many requests, until it has been idle for too long.
func TestIdleTimeoutOfAnHTTPClient(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })}
		url := "http://" + serve(t, nw, srv).String()
		tr := &http.Transport{DialContext: nw.DialContext, IdleConnTimeout: limit}
		defer tr.CloseIdleConnections()
		client := http.Client{Transport: tr}
		from := func() string {
			resp, err := client.Get(url)
			require.NoError(t, err)
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return string(b)
		}
		first := from()
		time.Sleep(limit - 1) // rules:allow it is in a bubble
		assert.Equal(t, first, from())
		time.Sleep(limit + 1) // rules:allow it is in a bubble
		assert.NotEqual(t, first, from())
	})
}
