package sockettest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/proxyfault"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/probe"
	"example.com/go-sockettest/sockettest"
)

// scriptOf is a script of the user's own: nothing can stand in for it.
var scriptOf = script.Script{script.Read(1), script.Stall()}

// streams are fixtures for connections that need a client of their own, which must succeed once
// they are disarmed; nil where they are left as they are. TestDisarmedRows has the others.
var streams = []struct {
	fixture fixtures.Fixture
	honest  func(t *testing.T, ep *fixtures.Endpoint) error
}{
	{fixtures.Close{OnAccept: true}, echoed},
	{fixtures.Discard{}, muchEchoed},
	{fixtures.Drip{Every: time.Hour}, received},
	{fixtures.Forward{To: "echo.test:7", Delay: time.Hour, Dial: toEcho}, echoed},
	{fixtures.NeverRead{}, muchEchoed},
	{fixtures.Reset{OnAccept: true}, echoed},
	{fixtures.Scripted{Steps: scriptOf}, nil},
	{fixtures.Sequence{fixtures.Reset{}, fixtures.Silent{}}, echoed},
	{fixtures.Silent{Unread: true}, muchEchoed},
	{fixtures.SlowAccept{Delay: time.Hour}, echoed},
	{fixtures.SlowHandshake{Delay: time.Hour}, echoed},
	{fixtures.StandIn{Then: fixtures.Scripted{Steps: scriptOf}, Instead: httpfault.OK{}}, get},
	{fixtures.SlowAccept{Delay: time.Hour, Then: fixtures.Reset{Then: httpfault.Stall{}}}, get},
	{httpfault.NoContinue{}, continued},
	{proxyfault.Stall{At: proxyfault.Reply}, tunnelled("http")},
	{proxyfault.Reset{At: proxyfault.Relay, Then: proxyfault.SOCKS5{}}, tunnelled("socks5")},
	{tlsfault.OverTLS{Then: fixtures.Scripted{Steps: scriptOf}}, nil},
	{tlsfault.OverTLS{Then: fixtures.Silent{}}, secured},
	{own{}, nil},
}

// honest is the client that must succeed with a row's fixture once that is disarmed; nil if the
// tables have one of its own.
func honest(r probe.Row) func(t *testing.T, ep *fixtures.Endpoint) error {
	switch r.Fixture.(type) {
	case fixtures.Discard, fixtures.Drip:
		return nil
	}
	switch pkg := r.Package(); {
	case r.Armed || pkg == "proxyfault":
		return nil
	case pkg == "tlsfault":
		return secured
	case strings.HasPrefix(r.Say, "PRI"):
		return getH2
	case pkg == "httpfault":
		return get
	}
	return echoed
}

// Every fixture says what stands in for it (Plan.Instead), and that behaves; or its row says that
// it has none.
func TestDisarmedRows(t *testing.T) {
	if !disarmed(t) {
		return
	}
	for _, r := range probe.All() {
		t.Run(r.String(), func(t *testing.T) {
			e, err := r.Start(t.Context(), fixtures.Place{Family: r.Networks()[0]})
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			require.NoError(t, err)
			defer func() { assert.NoError(t, e.Close()) }()
			assert.Equal(t, !r.Armed, e.(interface{ Disarmed() bool }).Disarmed())
			ep, ok := e.(*fixtures.Endpoint)
			if client := honest(r); ok && client != nil {
				assert.NoError(t, client(t, ep))
			}
		})
	}
}

// own is a fixture of a user's own, whose plan says nothing of what stands in.
type own struct{}

func (own) Plan() (fixtures.Plan, error) {
	p, err := fixtures.Silent{}.Plan()
	p.Instead = nil
	return p, err
}

// datagrams are all fixtures for datagrams; a client asks twice and has both answers.
var datagrams = []struct {
	fixture udp.Fixture
	left    bool
}{
	{udp.Drop{}, false}, {udp.Duplicate{}, false}, {udp.Echo{}, false}, {udp.Late{Delay: time.Hour}, false}, {udp.Refused{}, false},
	{udp.Reorder{}, false}, {udp.Reply(func(b []byte) []byte { return b }), true}, {udp.Silent{}, false}, {udp.Truncate{}, false},
}

// names are all name servers; each name is 127.0.0.1 then.
var names = []dnsfault.Fixture{
	dnsfault.Drop{Times: 99}, dnsfault.Garbage{}, dnsfault.Late{Delay: time.Hour}, dnsfault.NXDomain{}, dnsfault.ServFail{},
	dnsfault.Silent{}, dnsfault.Truncate{Then: dnsfault.Silent{}}, dnsfault.WrongID{}, dnsfault.Zone{"*": {"127.0.0.1"}},
}

// clients are all hostile clients; what stands in leaves by itself. Those of HTTP/2 and TLS have a
// server that speaks it.
var clients = []struct {
	fixture func(target string) hostile.Fixture
	server  func(t *testing.T) string
	left    bool
}{
	{func(s string) hostile.Fixture { return hostile.Reset{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.ClosedWindow{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.ConnectOnly{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.Flood{Target: s, Count: 3} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.HalfClose{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.NeverPong{Target: s} }, webSocketServer, false},
	{func(s string) hostile.Fixture { return hostile.NeverRead{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.Scripted{Target: s, Steps: scriptOf} }, webServer, true},
	{func(s string) hostile.Fixture {
		return hostile.OverTLS{Then: hostile.Slowloris{Target: s}}
	}, tlsServer, false},
	{func(s string) hostile.Fixture { return hostile.SlowBody{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.SlowHello{Target: s} }, tlsServer, false},
	{func(s string) hostile.Fixture {
		return hostile.Slowloris{Target: s, Data: "GET / HTTP/1.1\r\nHost: x\r\n\r\n"}
	}, webServer, false},
	{func(s string) hostile.Fixture { return hostile.SplitEverywhere{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.StalledH2{Target: s} }, webServer, false},
	{func(s string) hostile.Fixture { return hostile.StalledTLS{Target: s} }, tlsServer, false},
}

func TestDisarmedBehavesForItsClient(t *testing.T) {
	if !disarmed(t) {
		return
	}
	for _, tt := range streams {
		t.Run(fmt.Sprintf("%T", tt.fixture), func(t *testing.T) {
			nw := "tcp"
			if _, unix := tt.fixture.(fixtures.NoSocket); unix {
				nw = "unix"
			}
			ep := sockettest.Start(t, tt.fixture, sockettest.Family(nw))
			require.Equal(t, tt.honest != nil, ep.Disarmed())
			if tt.honest != nil {
				require.NoError(t, tt.honest(t, ep))
			}
		})
	}
	for _, tt := range datagrams {
		t.Run(fmt.Sprintf("%T", tt.fixture), func(t *testing.T) {
			ep := sockettest.Start(t, tt.fixture)
			require.Equal(t, !tt.left, ep.Disarmed())
			answeredTwice(t, ep)
		})
	}
	t.Run(fmt.Sprintf("%T", dual), func(t *testing.T) {
		d := sockettest.Start(t, dual)
		require.True(t, d.Disarmed())
		dialled(t, d.IPv6)
		dialled(t, d.IPv4)
	})
	for _, f := range names {
		t.Run(fmt.Sprintf("%T", f), func(t *testing.T) {
			ep := sockettest.Start(t, f)
			require.True(t, ep.Disarmed())
			ips, err := ep.Resolver().LookupIP(t.Context(), "ip4", "db.example.")
			require.NoError(t, err)
			assert.Equal(t, "127.0.0.1", ips[0].String())
		})
	}
	for _, tt := range clients {
		t.Run(fmt.Sprintf("%T", tt.fixture("")), func(t *testing.T) {
			a := sockettest.Start(t, tt.fixture(tt.server(t)))
			require.Equal(t, !tt.left, a.Disarmed())
			if !tt.left {
				require.NoError(t, a.Await(t.Context(), fixtures.Ended, len(a.Conns())), "%v", a.Events())
				assert.Empty(t, a.Failures())
			}
		})
	}
}

// TestDisarmedResetOfAnAttack: the test's own Conn.Reset does nothing on the connection of a client
// that behaves. One that is left as it is still resets.
func TestDisarmedResetOfAnAttack(t *testing.T) {
	if !disarmed(t) {
		return
	}
	for _, tt := range []struct {
		attack func(target string) hostile.Fixture
		resets bool   // the test does
		says   string // the server
		ends   error
	}{
		{func(s string) hostile.Fixture { return hostile.Slowloris{Target: s} }, true, "HTTP/1.1 204 No Content\r\n\r\n", nil},
		{func(s string) hostile.Fixture {
			return hostile.Scripted{Target: s, Steps: script.Script{script.Stall()}}
		}, true, "", syscall.ECONNRESET},
		{func(s string) hostile.Fixture {
			return hostile.Scripted{Target: s, Steps: script.Script{script.Read(1), script.Reset()}}
		}, false, "x", syscall.ECONNRESET},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		a := sockettest.Start(t, tt.attack(ln.Addr().String()))
		c, err := ln.Accept()
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
		if tt.resets {
			require.NoError(t, a.Conns()[0].Reset())
		}
		if tt.says != "" {
			_, err = io.WriteString(c, tt.says)
			require.NoError(t, err)
		}
		_, err = io.Copy(io.Discard, c)
		assert.ErrorIs(t, err, tt.ends, "%v", a)
	}
}

// dual is for the tests below: each half has its own stand-in.
var dual = fixtures.Dual{IPv6: fixtures.BlackHole{}, IPv4: fixtures.Refused{}}

// disarmedRun is the process in which tests run disarmed.
var disarmedRun = manytests.Group{Env: "SOCKETTEST_DISARM=1", Run: "^Test(Disarmed|Listed)"}

// disarmed reports whether this is a disarmed run; it sees to one elsewhere.
func disarmed(t *testing.T) bool {
	t.Helper()
	return disarmedRun.Runs(t)
}

func dialled(t *testing.T, ep *fixtures.Endpoint) net.Conn {
	t.Helper()
	c, err := ep.DialContext(t.Context(), "tcp", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

func exchange(c net.Conn) error {
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	b := make([]byte, 5)
	_, err := io.ReadFull(c, b)
	if err == nil && string(b) != "hello" {
		return fmt.Errorf("got %q", b)
	}
	return err
}

func echoed(t *testing.T, ep *fixtures.Endpoint) error { return exchange(dialled(t, ep)) }

// muchEchoed writes all before it reads.
func muchEchoed(t *testing.T, ep *fixtures.Endpoint) error {
	manytests.Long(t, "it writes 16 MB")
	c, much := dialled(t, ep), make([]byte, 16<<20)
	if _, err := c.Write(much); err != nil {
		return err
	}
	_, err := io.ReadFull(c, much)
	return err
}

func received(t *testing.T, ep *fixtures.Endpoint) error {
	b, err := io.ReadAll(dialled(t, ep))
	if err == nil && len(b) != 1024 {
		return fmt.Errorf("got %d B", len(b))
	}
	return err
}

func secured(t *testing.T, ep *fixtures.Endpoint) error {
	return exchange(tls.Client(dialled(t, ep), tlsfault.ClientConfig()))
}

// requests makes two requests, so that the first connection is used again.
func requests(t *testing.T, tr *http.Transport, addr string, body func() io.Reader) error {
	t.Helper()
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Timeout: time.Minute}
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, body())
		if err != nil {
			return err
		}
		req.Header.Set("Expect", "100-continue")
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(b) != "ok" || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("got %s, %q, %w", resp.Status, b, err)
		}
	}
	return nil
}

func small() io.Reader { return strings.NewReader("hello") }

func get(t *testing.T, ep *fixtures.Endpoint) error {
	return requests(t, &http.Transport{DialContext: ep.DialContext}, ep.Addr(), small)
}

func getH2(t *testing.T, ep *fixtures.Endpoint) error {
	tr := &http.Transport{DialContext: ep.DialContext, Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	return requests(t, tr, ep.Addr(), func() io.Reader { return strings.NewReader(strings.Repeat(".", 1<<20)) })
}

// continued would wait for an hour, were it not for the server's 100 (Continue).
func continued(t *testing.T, ep *fixtures.Endpoint) error {
	return requests(t, &http.Transport{DialContext: ep.DialContext, ExpectContinueTimeout: time.Hour, DisableKeepAlives: true}, ep.Addr(), small)
}

// tunnelled goes through the proxy to a web server.
func tunnelled(scheme string) func(t *testing.T, ep *fixtures.Endpoint) error {
	return func(t *testing.T, ep *fixtures.Endpoint) error {
		web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
		t.Cleanup(web.Close)
		tr := web.Client().Transport.(*http.Transport).Clone()
		t.Cleanup(tr.CloseIdleConnections)
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: scheme, Host: ep.Addr()})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL, nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
}

func answeredTwice(t *testing.T, ep *udp.Endpoint) {
	t.Helper()
	c, err := ep.DialContext(t.Context(), "udp", "")
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	for _, s := range []string{"first", "second"} {
		_, err = io.WriteString(c, s)
		require.NoError(t, err)
		b := make([]byte, 64)
		n, err := c.Read(b)
		require.NoError(t, err)
		assert.Equal(t, s, string(b[:n]))
	}
}

// toEcho dials a server that echoes, wherever it is to go.
func toEcho(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(there, there); _ = there.Close() }()
	return here, nil
}

func webServer(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func tlsServer(t *testing.T) string {
	t.Helper()
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// webSocketServer makes the handshake, and reads until the client has gone.
func webSocketServer(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, rw)
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// A case of TestDisarmedWants is a want, an operation, and what a disarmed run makes of it.
func TestDisarmedWants(t *testing.T) {
	if !disarmed(t) {
		return
	}
	fails := func(context.Context) error { return syscall.ECONNREFUSED }
	passes := func(context.Context) error { return nil }
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    sockettest.Want
		op      func(context.Context) error
		fails   string // the failure; empty means none
		skips   bool   // the test ends with the want
	}{
		{"failure that is met", fixtures.Refused{}, sockettest.Rejected.Before(time.Minute), fails, "met without the fault", false},
		{"failure that is not met", fixtures.Refused{}, sockettest.Rejected.Before(time.Minute), passes, "", true},
		{"error that is met", fixtures.Refused{}, sockettest.ErrorIs(syscall.ECONNREFUSED), fails, "met without the fault", false},
		{"lower bound that is met", fixtures.Refused{}, sockettest.Accepted.After(1), passes, "met without the fault", false},
		{"lower bound that is not met", fixtures.SlowAccept{}, sockettest.Accepted.After(time.Hour).Before(2 * time.Hour), passes, "", true},
		{"success without contact", fixtures.Refused{}, sockettest.Accepted.Before(time.Minute), passes, "", true},
		{"success that does not come", fixtures.Refused{}, sockettest.Accepted.Before(time.Minute), fails, "", true},
		{"left as it is, met", own{}, sockettest.Rejected.Before(time.Minute), fails, "", false},
		{"left as it is, not met", own{}, sockettest.Rejected.Before(time.Minute), passes, "want rejected", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			after := false
			tb := faketb.Run(t, func(tb *faketb.TB) {
				sockettest.Expect(tb, sockettest.Start(tb, tt.fixture), tt.want, tt.op)
				after = true
			})
			if tt.fails == "" {
				assert.Empty(t, tb.Text())
			} else {
				assert.Contains(t, tb.Text(), tt.fails)
			}
			assert.Equal(t, tt.skips, tb.Skipped(), tb.Reason())
			assert.Equal(t, !tt.skips, after)
		})
	}
}
