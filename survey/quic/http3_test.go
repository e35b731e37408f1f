package quic_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

// serveHTTP runs an HTTP/3 server until the test ends, and returns its address. /never is not answered, and the body of /body
// has no end.
func serveHTTP(t testing.TB, nw network.Stack) (addr string) {
	t.Helper()
	p := listen(t, nw, "")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("/never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/body", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s := &http3.Server{Handler: mux, TLSConfig: http3.ConfigureTLSConfig(tlsfault.ServerConfig())}
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(p) })
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.NoError(t, p.Close())
		running.Wait()
	})
	return p.LocalAddr().String()
}

// browser returns an HTTP/3 client on nw.
func browser(t testing.TB, nw network.Stack, conf *quic.Config) *http.Client {
	t.Helper()
	transport := &http3.Transport{TLSClientConfig: tlsfault.ClientConfig(), QUICConfig: conf, Dial: on(t, nw).dialTLS}
	t.Cleanup(func() { assert.NoError(t, transport.Close()) })
	return &http.Client{Transport: transport}
}

// post sends a body to a path, and reads the whole answer.
func post(ctx context.Context, c *http.Client, addr, path, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && string(got) != body {
		err = errAnswer
	}
	return err
}

func TestHTTP3(t *testing.T) {
	for name, fault := range map[string]udp.Fixture{
		"initial flight lost": udp.Drop{},
		"each fourth lost":    udp.Drop{EachNth: 4},
		"answers twice":       udp.Duplicate{EachNth: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
				sockettest.NoLeaks(t)
				to := udp.Forward{To: serveHTTP(t, nw)}
				switch f := fault.(type) {
				case udp.Drop:
					f.Then = to
					fault = f
				case udp.Duplicate:
					f.Then = to
					fault = f
				}
				ep := sockettest.Start(t, fault, sockettest.On(nw))
				c := browser(t, nw, nil)
				sockettest.Expect(t, ep, sockettest.Accepted, func(ctx context.Context) error { return post(ctx, c, ep.Addr(), "/", strings.Repeat("body", 5_000)) })
			})
		})
	}
}

// A server that vanishes in the middle of a body ends it with an error, and not as if it were whole.
func TestHTTP3ServerVanishesInTheBody(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, udp.Forward{To: serveHTTP(t, nw)}, sockettest.On(nw))
		limit := 600 * time.Millisecond
		c := browser(t, nw, &quic.Config{MaxIdleTimeout: limit})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://%s/body", ep.Addr()), nil)
		require.NoError(t, err)
		res, err := c.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		_, err = io.ReadFull(res.Body, make([]byte, len("begun")))
		require.NoError(t, err)
		require.NoError(t, ep.Become(udp.Silent{}))
		r2 := sockettest.Measure(func() error { _, err := io.ReadAll(res.Body); return err })
		t.Log(r2.Elapsed, r2.Err)
		require.NoError(t, sockettest.TimedOut.Before(limit+5*time.Second).Check(r2))
	})
}
