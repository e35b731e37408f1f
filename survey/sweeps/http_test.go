package sweeps

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sweep"
)

var httpClient = subject{
	name: "http1", does: "net/http, HTTP/1.1: GET, POST, GET of a chunked answer on one connection",
	cfg: sweep.Config{Server: serveHTTP(nil, false), Limit: 11 * time.Second, Once: []string{"POST /"}},
	op: func(ctx context.Context, c *sweep.Case) error {
		return useHTTP(ctx, c, "http://", &http.Transport{DialContext: c.DialContext})
	},
}

var tlsClient = subject{
	name: "http1-tls", does: "the same, over TLS 1.3",
	cfg: sweep.Config{Server: serveHTTP(tlsfault.ServerConfig(), false), Limit: 11 * time.Second, Max: 600},
	op: func(ctx context.Context, c *sweep.Case) error {
		return useHTTP(ctx, c, "https://", &http.Transport{DialContext: c.DialContext, TLSClientConfig: tlsfault.ClientConfig()})
	},
}

var h2Client = subject{
	name: "h2c", does: "net/http, HTTP/2 without TLS: the same, with pings",
	cfg: sweep.Config{Server: serveHTTP(nil, true), Limit: 11 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		tr := &http.Transport{DialContext: c.DialContext, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second}}
		tr.Protocols.SetUnencryptedHTTP2(true)
		return useHTTP(ctx, c, "http://", tr)
	},
}

func useHTTP(ctx context.Context, c *sweep.Case, scheme string, tr *http.Transport) error {
	client := &http.Client{Transport: tr, Timeout: timeout}
	defer c.Close(func() error { client.CloseIdleConnections(); return nil })
	ask := func(ctx context.Context, method, path, want string) error {
		req, err := http.NewRequestWithContext(ctx, method, scheme+c.Addr()+path, strings.NewReader(map[string]string{"POST": "x=1"}[method]))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil {
			assert.Equal(c, want, string(b))
		}
		return err
	}
	err := within(ctx, func(ctx context.Context) error {
		err := ask(ctx, "GET", "/hello", "hello, world")
		if err == nil {
			err = ask(ctx, "POST", "/hello", "hello, world")
		}
		if err == nil {
			err = ask(ctx, "GET", "/chunks", "chunk 0\nchunk 1\nchunk 2\n")
		}
		return err
	})
	c.Recovers(func(ctx context.Context) error { return ask(ctx, "GET", "/hello", "hello, world") })
	return err
}

// serveHTTP is net/http's server, which is good: it ends a connection that says nothing.
func serveHTTP(secure *tls.Config, h2 bool) func(net.Listener) error {
	return func(ln net.Listener) error {
		mux := http.NewServeMux()
		mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				_, _ = io.WriteString(w, "hello, world")
			}
		})
		mux.HandleFunc("/chunks", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 3 {
				fmt.Fprintf(w, "chunk %d\n", i)
				_ = http.NewResponseController(w).Flush()
			}
		})
		srv := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: secure, ReadTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second}
		if h2 {
			srv.Protocols = new(http.Protocols)
			srv.Protocols.SetUnencryptedHTTP2(true)
		}
		if secure != nil {
			return srv.ServeTLS(ln, "", "")
		}
		return srv.Serve(ln)
	}
}
