package simnet_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// echoBody answers with what it is sent.
var echoBody = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })

// closedAt waits for the server to end the connection.
func closedAt(t *testing.T, c net.Conn, want time.Duration, begin time.Time) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	assert.Equal(t, want, time.Since(begin))
}

// A client that is too slow is shown the door at the exact time.
func TestTimeoutsOfAnHTTPServer(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
	for _, tt := range []struct {
		name string
		set  func(*http.Server)
		send string
	}{
		{"read header", func(s *http.Server) { s.ReadHeaderTimeout = limit }, "POST / HT"},
		{"read", func(s *http.Server) { s.ReadTimeout = limit }, head},
		{"idle", func(s *http.Server) { s.IdleTimeout = limit }, head + "hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
				srv := &http.Server{Handler: echoBody}
				tt.set(srv)
				c := p.dial(t, nw, p.serve(t, nw, srv))
				begin := time.Now()
				write(t, c, tt.send)
				closedAt(t, c, limit, begin)
			}, http1, https)
		})
	}
}

// What bounds a request's header bounds the TLS handshake before it as well, of HTTP/2 too.
func TestReadHeaderTimeoutBoundsHandshake(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*http.Server){
		"read header": func(s *http.Server) { s.ReadHeaderTimeout = limit },
		"read":        func(s *http.Server) { s.ReadTimeout = limit },
		"write":       func(s *http.Server) { s.WriteTimeout = limit },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
				srv := &http.Server{Handler: echoBody, ErrorLog: log.New(io.Discard, "", 0)}
				set(srv)
				c, err := nw.Dial("tcp", p.serve(t, nw, srv).String())
				require.NoError(t, err)
				defer c.Close()
				closedAt(t, c, limit, time.Now())
			}, https, http2)
		})
	}
}

// No knob bounds the preface of HTTP/2, but a constant of net/http.
func TestPrefaceOfHTTP2IsAwaitedFor10s(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
		c := p.dial(t, nw, p.serve(t, nw, &http.Server{Handler: echoBody, ReadHeaderTimeout: limit}))
		closedAt(t, c, 10*time.Second, time.Now())
	}, http2)
}

// Of HTTP/2, ReadTimeout bounds the body of each request, from its header on.
func TestReadTimeoutOfAnHTTP2Server(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
		ended := make(chan time.Time, 1)
		srv := &http.Server{ReadTimeout: limit, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			ended <- time.Now()
		})}
		url := p.url(p.serve(t, nw, srv))
		body, never := io.Pipe()
		defer never.Close()
		begin := time.Now()
		resp, err := (&http.Client{Transport: p.transport(t, nw)}).Post(url, "", body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, limit, (<-ended).Sub(begin))
	}, http2)
}

// A client that does not read stops a server that writes, up to its write timeout: then the request
// is cancelled. Over TLS, HTTP/1.1's Write then waits for room for close_notify, for 5 s, which is
// no knob but a constant of crypto/tls.
func TestWriteTimeoutOfAnHTTPServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
		var begin, cancelled time.Time
		ended := make(chan time.Time, 1)
		srv := &http.Server{WriteTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begin = time.Now()
			stop := context.AfterFunc(r.Context(), func() { cancelled = time.Now() })
			defer stop()
			_, err := w.Write(make([]byte, 16<<20))
			assert.Error(t, err)
			ended <- time.Now()
		})}
		resp, err := (&http.Client{Transport: p.transport(t, nw)}).Get(p.url(p.serve(t, nw, srv)))
		require.NoError(t, err)
		want := limit
		if p == https {
			want += 5 * time.Second
		}
		assert.Equal(t, want, (<-ended).Sub(begin))
		synctest.Wait()
		assert.Equal(t, limit, cancelled.Sub(begin))
		require.NoError(t, resp.Body.Close())
	}, http1, https, http2)
}

// A connection of HTTP/2 that has been idle for too long is told so, by GOAWAY, and closed.
func TestIdleTimeoutOfAnHTTP2Server(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
		var conns dialled
		tr := p.transport(t, nw)
		tr.DialContext = conns.through(nw.DialContext)
		client, url := &http.Client{Transport: tr}, p.url(p.serve(t, nw, &http.Server{Handler: echoBody, IdleTimeout: limit}))
		for _, pause := range []time.Duration{limit - 1, limit + 1, 0} {
			resp, err := client.Get(url)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			time.Sleep(pause) // rules:allow it is in a bubble
		}
		require.Len(t, conns, 2)
		assert.Equal(t, 2*limit, conns[1].Sub(conns[0]), "the last request alone was too late, by 1 ns")
	}, http2)
}
