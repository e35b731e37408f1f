package simnet_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/simnet"
)

// limit is each timeout of these tests.
const limit = 30 * time.Second

// A protocol is one of those that net/http speaks.
type protocol struct {
	name string
	tls  bool
	h2   bool
}

var (
	http1 = protocol{name: "HTTP/1.1"}
	https = protocol{name: "HTTP/1.1 over TLS", tls: true}
	http2 = protocol{name: "HTTP/2 over TLS", tls: true, h2: true}
)

// each runs f in a bubble for each protocol.
func each(t *testing.T, f func(t *testing.T, nw *simnet.Network, p protocol), all ...protocol) {
	t.Helper()
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) { f(t, nw, p) })
		})
	}
}

func (p protocol) protocols() *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!p.h2)
	protocols.SetHTTP2(p.h2)
	return protocols
}

// serve runs a server until the test ends.
func (p protocol) serve(t *testing.T, nw *simnet.Network, srv *http.Server) net.Addr {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	run := func() error { return srv.Serve(ln) }
	if p.tls {
		srv.TLSConfig, srv.Protocols = tlsfault.ServerConfig(), p.protocols()
		run = func() error { return srv.ServeTLS(ln, "", "") }
	}
	var wg sync.WaitGroup
	wg.Go(func() { assert.ErrorIs(t, run(), http.ErrServerClosed) })
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
		time.Sleep(time.Second) // rules:allow in a bubble; a server half-closes and lingers for 500 ms (rstAvoidanceDelay)
	})
	return ln.Addr()
}

// transport is a client without limits, and ends with the test.
func (p protocol) transport(t *testing.T, nw *simnet.Network) *http.Transport {
	t.Helper()
	tr := &http.Transport{DialContext: nw.DialContext}
	if p.tls {
		tr.TLSClientConfig, tr.Protocols = tlsfault.ClientConfig(), p.protocols()
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func (p protocol) url(addr net.Addr) string {
	if p.tls {
		return "https://" + addr.String()
	}
	return "http://" + addr.String()
}

// dial is a client's connection, once its handshake is done; it is closed with the test.
func (p protocol) dial(t *testing.T, nw *simnet.Network, addr net.Addr) net.Conn {
	t.Helper()
	c, err := nw.Dial("tcp", addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	if !p.tls {
		return c
	}
	config := tlsfault.ClientConfig()
	config.NextProtos = []string{"http/1.1"}
	if p.h2 {
		config.NextProtos = []string{"h2"}
	}
	tc := tls.Client(c, config)
	require.NoError(t, tc.HandshakeContext(t.Context()))
	return tc
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
