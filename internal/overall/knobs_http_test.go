package overall_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/proxyfault"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func httpKnobs() []knob {
	timedOut := sockettest.TimedOut.At(knobLimit)
	const lostPing = "http2: client connection lost"
	return []knob{
		{name: "Client.Timeout", trip: httpfault.Stall{}, with: timedOut, without: waits,
			run: requesting(httpfault.Stall{}, clientTimeout, get)},
		{name: "Client.Timeout", trip: "`httpfault.Stall` in the body", with: timedOut, without: waits, note: "it bounds the body too",
			run: requesting(httpfault.Stall{At: httpfault.MidBody, AfterWritten: 3}, clientTimeout, get)},
		{name: "Client.Timeout", trip: httpfault.H2NoWindow{}, with: timedOut, without: waits, note: "no other knob does but the context",
			run: requesting(httpfault.H2NoWindow{}, clientTimeout, http2, upload)},
		{name: "ctx of Request", trip: httpfault.Stall{}, with: timedOut, without: waits,
			run: requesting(httpfault.Stall{}, requestContext, get)},
		{name: "ctx of Request", trip: "`httpfault.Stall` in the body", with: timedOut, without: waits,
			run: requesting(httpfault.Stall{At: httpfault.MidBody, AfterWritten: 3}, requestContext, get)},
		{name: "ctx of Request", trip: "`proxyfault.Stall` of a `Connect`", with: timedOut, without: sockettest.TimedOut.At(time.Minute),
			note: "the Transport gives up CONNECT, and no field says when",
			run:  requesting(proxyfault.Stall{At: proxyfault.Reply}, requestContext, secure, proxy("http"), get)},
		{name: "ctx of Request", trip: "`proxyfault.Stall` of a `SOCKS5`", with: timedOut, without: waits,
			note: "even with it the dial goes on, until CloseIdleConnections",
			run:  requesting(proxyfault.Stall{At: proxyfault.Reply, Then: proxyfault.SOCKS5{}}, requestContext, secure, proxy("socks5"), get)},
		{name: "Dialer.Timeout in Transport.DialContext", trip: fixtures.BlackHole{}, with: timedOut.In("connect"),
			without: sockettest.TimedOut.At(131 * time.Second).In("connect"), note: "Linux gives up; DefaultTransport has 30 s",
			run: requesting(fixtures.BlackHole{}, dialTimeout, get)},
		{name: "Transport.TLSHandshakeTimeout", trip: fixtures.Silent{}, with: timedOut, without: waits, note: "DefaultTransport has 10 s",
			run: requesting(fixtures.Silent{}, func(h *httpCall, d time.Duration) { h.TLSHandshakeTimeout = d }, secure)},
		{name: "Transport.ResponseHeaderTimeout", trip: httpfault.Stall{}, with: timedOut, without: waits,
			run: requesting(httpfault.Stall{}, responseHeaderTimeout, get)},
		{name: "Transport.ResponseHeaderTimeout", trip: httpfault.DripHeader{}, with: timedOut, without: waits, note: "each read succeeds",
			run: requesting(httpfault.DripHeader{Every: time.Hour}, responseHeaderTimeout, get)},
		{name: "Transport.ExpectContinueTimeout", trip: httpfault.NoContinue{}, with: sockettest.Accepted.At(knobLimit),
			without: sockettest.Accepted.At(0), note: "the body is sent without a wait; DefaultTransport has 1 s",
			run: requesting(httpfault.NoContinue{}, func(h *httpCall, d time.Duration) { h.ExpectContinueTimeout = d }, expecting)},
		{name: "Transport.IdleConnTimeout", trip: httpfault.OK{}, with: sockettest.Closed.At(knobLimit), without: waits,
			note: "the connection stays open, idle; DefaultTransport has 90 s", run: requesting(httpfault.OK{}, idleConnTimeout, thenIdle)},
		{name: "Transport.IdleConnTimeout", trip: "`httpfault.OK`, in HTTP/2", with: sockettest.Closed.At(knobLimit), without: waits,
			run: requesting(httpfault.OK{}, idleConnTimeout, http2, thenIdle)},
		{name: "HTTP2Config.SendPingTimeout", trip: httpfault.H2NoPing{}, with: sockettest.Other.At(knobLimit), without: waits, says: lostPing,
			note: "no PING is sent; set to 15 s, and PingTimeout's default is 15 s more",
			run:  requesting(httpfault.H2NoPing{}, func(h *httpCall, d time.Duration) { h.HTTP2.SendPingTimeout = d / 2 }, http2, get)},
		{name: "HTTP2Config.PingTimeout", trip: httpfault.H2NoPing{}, with: sockettest.Other.At(knobLimit), says: lostPing,
			without: sockettest.Other.At(35 * time.Second), note: "set to 10 s, the default is 15 s, and SendPingTimeout 20 s",
			run: requesting(httpfault.H2NoPing{}, func(h *httpCall, d time.Duration) {
				h.HTTP2.SendPingTimeout, h.HTTP2.PingTimeout = 20*time.Second, d/3
			}, http2, get)},
		{name: "HTTP2Config.WriteByteTimeout", trip: httpfault.H2NeverRead{}, with: sockettest.TimedOut.At(2 * knobLimit), without: waits,
			note: "a write that gets somewhere has its time again",
			run:  requesting(httpfault.H2NeverRead{}, func(h *httpCall, d time.Duration) { h.HTTP2.WriteByteTimeout = d }, http2, upload)},
	}
}

// An httpCall is what a trial of an HTTP client is made up of. Its parts set each other right in
// the order that they are given in.
type httpCall struct {
	*http.Client
	*http.Transport
	ep     *fixtures.Endpoint
	limit  time.Duration // of the request's context; 0 is none
	scheme string
	method string
	body   string
	header http.Header
	after  func(context.Context) error // once it has been answered; may be nil
}

// requesting is the trial of a request to f. knob sets the client's.
func requesting(f fixtures.Fixture, knob func(h *httpCall, limit time.Duration), parts ...func(h *httpCall)) trial {
	return against(f, func(t *testing.T, _ network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
		tr := &http.Transport{DialContext: ep.DialContext}
		t.Cleanup(tr.CloseIdleConnections)
		h := &httpCall{Client: &http.Client{Transport: tr}, Transport: tr, ep: ep, scheme: "http"}
		for _, part := range parts {
			part(h)
		}
		knob(h, limit)
		return h.do
	})
}

// do makes the request and reads the answer.
func (h *httpCall) do(ctx context.Context) error {
	within, cancel := within(ctx, h.limit)
	defer cancel()
	req, err := http.NewRequestWithContext(within, h.method, h.scheme+"://server.test/", strings.NewReader(h.body))
	if err != nil {
		return err
	}
	req.Header = h.header
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || h.after == nil {
		return err
	}
	return h.after(ctx)
}

func get(h *httpCall) { h.method = http.MethodGet }

func secure(h *httpCall) { h.scheme = "https" }

// proxy leads there through a proxy.
func proxy(scheme string) func(*httpCall) {
	return func(h *httpCall) { h.Proxy = http.ProxyURL(&url.URL{Scheme: scheme, Host: h.ep.Addr()}) }
}

// upload is more than any buffer takes.
func upload(h *httpCall) { h.method, h.body = http.MethodPost, strings.Repeat(".", 16<<20) }

func expecting(h *httpCall) {
	h.method, h.body, h.header = http.MethodPost, "hello", http.Header{"Expect": {"100-continue"}}
}

// http2 is spoken with prior knowledge.
func http2(h *httpCall) {
	h.HTTP2, h.Protocols = new(http.HTTP2Config), new(http.Protocols)
	h.Protocols.SetUnencryptedHTTP2(true)
}

// thenIdle waits until the client closes the connection on which nothing happens any more.
func thenIdle(h *httpCall) {
	h.after = func(ctx context.Context) error { return untilClosed(ctx, h.ep) }
}

// untilClosed returns io.EOF when the other side has closed a connection.
func untilClosed(ctx context.Context, ep *fixtures.Endpoint) error {
	if err := ep.Await(ctx, fixtures.PeerFIN, 1); err != nil {
		return err
	}
	return io.EOF
}

func clientTimeout(h *httpCall, d time.Duration) { h.Timeout = d }

func requestContext(h *httpCall, d time.Duration) { h.limit = d }

func responseHeaderTimeout(h *httpCall, d time.Duration) { h.ResponseHeaderTimeout = d }

func idleConnTimeout(h *httpCall, d time.Duration) { h.IdleConnTimeout = d }

// dialTimeout is what a net.Dialer with a Timeout does, which itself goes nowhere but to the
// kernel.
func dialTimeout(h *httpCall, d time.Duration) {
	h.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := within(ctx, d)
		defer cancel()
		return h.ep.DialContext(ctx, network, address)
	}
}
