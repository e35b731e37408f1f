package simnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// post is one request, with a transport that has one timeout.
func post(t *testing.T, nw *simnet.Network, p protocol, address net.Addr, set func(*http.Transport)) func(context.Context) error {
	t.Helper()
	tr := p.transport(t, nw)
	set(tr)
	return func(ctx context.Context) error {
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url(address), strings.NewReader("x"))
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
	drips := script.Script{script.ReadUntil("\r\n\r\n"), script.Read(1),
		script.Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), script.Drip("hello", time.Hour), script.Stall()}
	none := func(*http.Transport) {}
	header := func(tr *http.Transport) { tr.ResponseHeaderTimeout = limit }
	handshake := func(tr *http.Transport) { tr.TLSHandshakeTimeout = limit }
	for _, tt := range []struct {
		name     string
		protocol protocol
		fixture  fixtures.Fixture
		set      func(*http.Transport)
		want     sockettest.Want
	}{
		{"dial", http1, fixtures.BlackHole{}, func(tr *http.Transport) { tr.DialContext = within(tr.DialContext) }, sockettest.TimedOut.At(limit)},
		{"dial, the kernel's", http1, fixtures.BlackHole{}, none, sockettest.TimedOut.At(131 * time.Second)},
		{"TLS handshake", https, tlsfault.Stall{}, handshake, sockettest.TimedOut.At(limit)},
		{"TLS handshake of HTTP/2", http2, tlsfault.Stall{At: tlsfault.AfterServerHello}, handshake, sockettest.TimedOut.At(limit)},
		{"TLS handshake, none", https, tlsfault.Stall{}, header, sockettest.Blocked.For(24 * time.Hour)},
		{"response header", http1, fixtures.Silent{}, header, sockettest.TimedOut.At(limit)},
		{"response header over TLS", https, tlsfault.OverTLS{Then: fixtures.Scripted{Steps: script.Script{script.Discard()}}}, header, sockettest.TimedOut.At(limit)},
		{"response header, none", http1, fixtures.Silent{}, none, sockettest.Blocked.For(24 * time.Hour)},
		{"a body that drips", http1, fixtures.Scripted{Steps: drips}, header, sockettest.Accepted.At(4 * time.Hour)},
		{"a body that drips, over TLS", https, tlsfault.OverTLS{Then: fixtures.Scripted{Steps: drips}}, header, sockettest.Accepted.At(4 * time.Hour)},
		{"reset", http1, fixtures.Reset{}, none, sockettest.ResetByPeer.At(0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				sockettest.NoLeaks(t)
				ep := sockettest.Start(t, tt.fixture, sockettest.On(nw))
				sockettest.Expect(t, ep, tt.want, post(t, nw, tt.protocol, ep.NetAddr(), tt.set))
			})
		})
	}
}

// The server is net/http's own: it reads the request, and does not answer.
func TestResponseHeaderTimeoutOfAnHTTPClient(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
		block := make(chan struct{})
		srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			assert.Equal(t, p.h2, r.ProtoMajor == 2)
			<-block
		})}
		addr := p.serve(t, nw, srv)
		defer close(block)
		begin := time.Now()
		err := post(t, nw, p, addr, func(tr *http.Transport) { tr.ResponseHeaderTimeout = limit })(t.Context())
		require.ErrorContains(t, err, "timeout awaiting response headers")
		assert.Equal(t, limit, time.Since(begin))
	}, http1, https, http2)
}

// A body that notes when the client begins to read it, which is when it begins to send it.
type body struct{ at time.Time }

func (b *body) Read(p []byte) (int, error) {
	if b.at.IsZero() {
		b.at = time.Now()
		return copy(p, "hello"), nil
	}
	return 0, io.EOF
}

// A client that expects 100 Continue sends its body when that comes, or when it has waited for it
// long enough.
func TestExpectContinueTimeoutOfAnHTTPClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		reads   time.Duration // when the server does, which sends 100 Continue; from the request on
		want    time.Duration // when the body is sent
	}{
		{"no 100 Continue", limit, 2 * limit, limit},
		{"100 Continue in time", limit, limit - 1, limit - 1},
		{"the default is not to wait", 0, 2 * limit, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(tt.reads) // rules:allow it is in a bubble
					_, err := io.Copy(w, r.Body)
					assert.NoError(t, err)
				})}
				tr := p.transport(t, nw)
				tr.ExpectContinueTimeout = tt.timeout
				sent := new(body)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url(p.serve(t, nw, srv)), sent)
				require.NoError(t, err)
				req.ContentLength = 5
				req.Header.Set("Expect", "100-continue")
				begin := time.Now()
				resp, err := (&http.Client{Transport: tr}).Do(req)
				require.NoError(t, err)
				got, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				assert.Equal(t, "hello", string(got))
				assert.Equal(t, tt.want, sent.at.Sub(begin))
			}, http1, https, http2)
		})
	}
}

// dialled are the times of a transport's connects.
type dialled []time.Time

func (d *dialled) through(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		*d = append(*d, time.Now())
		return dial(ctx, network, address)
	}
}

// One connection serves many requests, until it has been idle for too long.
func TestIdleTimeoutOfAnHTTPClient(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, nw *simnet.Network, p protocol) {
		var conns dialled
		tr := p.transport(t, nw)
		tr.DialContext, tr.IdleConnTimeout = conns.through(nw.DialContext), limit
		client, url := http.Client{Transport: tr}, p.url(p.serve(t, nw, &http.Server{Handler: echoBody}))
		for _, pause := range []time.Duration{limit - 1, limit + 1, 0} {
			resp, err := client.Get(url)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			time.Sleep(pause) // rules:allow it is in a bubble
		}
		require.Len(t, conns, 2)
		assert.Equal(t, 2*limit, conns[1].Sub(conns[0]))
	}, http1, https, http2)
}
