package sockettest_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

const beyond = "192.0.2.1:80" // rules:allow TEST-NET, and the guard stops it

// defaultClient is http.DefaultClient without the proxy of the environment, and with connections
// that end with the test.
func defaultClient(t testing.TB) *http.Client {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.Proxy, tr.DisableKeepAlives = nil, true
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// No t.Parallel: without the overlay the guard changes what is the whole process's.
func TestOnlyLoopback(t *testing.T) {
	resolver, dialer := net.DefaultResolver, http.DefaultTransport.(*http.Transport).DialContext
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	ep := sockettest.Start(t, fixtures.Echo{})
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	tb := faketb.Run(t, func(tb *faketb.TB) {
		sockettest.OnlyLoopback(tb)
		client := defaultClient(tb)
		for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
			resp, err := client.Get("http://" + net.JoinHostPort(host, port))
			if assert.NoError(t, err) {
				assert.NoError(t, resp.Body.Close())
			}
		}
		c, err := net.Dial("tcp", ep.Addr())
		if assert.NoError(t, err) {
			assert.NoError(t, c.Close())
		}
		own := sockettest.Start(t, fixtures.Echo{}, sockettest.On(simnet.New(t)))
		c, err = own.DialContext(t.Context(), "tcp", "db.example:80")
		if assert.NoError(t, err, "a simulated network") {
			assert.NoError(t, c.Close())
		}
	})
	assert.False(t, tb.Failed(), "%s", tb.Text())

	tb = faketb.Run(t, func(tb *faketb.TB) {
		sockettest.OnlyLoopback(tb)
		client := defaultClient(tb)
		for range 2 { // it is reported once
			_, err := client.Get("http://" + beyond)
			assert.ErrorContains(t, err, "dial tcp "+beyond+": it is beyond loopback, and sockettest.OnlyLoopback is in force")
		}
		_, err := client.Get("http://db.example.")
		assert.ErrorContains(t, err, "lookup db.example: it is beyond loopback")
		_, err = net.Dial("udp", "mail.example.:25")
		assert.ErrorContains(t, err, "lookup mail.example: it is beyond loopback")
		_, err = net.LookupHost("time.example.")
		assert.ErrorContains(t, err, "lookup time.example: it is beyond loopback")
	})
	assert.Equal(t, 4, strings.Count(tb.Text(), "OnlyLoopback: "), "%s", tb.Text())
	for _, what := range []string{"dial tcp " + beyond, "lookup db.example", "lookup mail.example", "lookup time.example"} {
		assert.Regexp(t, what+`: it is beyond loopback\n  caller   \S+sockettest_test.TestOnlyLoopback\S*  guard_test.go:\d+\n  remedy `, tb.Text())
	}
	assert.Same(t, resolver, net.DefaultResolver)
	after := http.DefaultTransport.(*http.Transport).DialContext
	assert.Equal(t, *(*unsafe.Pointer)(unsafe.Pointer(&dialer)), *(*unsafe.Pointer)(unsafe.Pointer(&after)), "the same method value")
	sockettest.OnlyLoopback(nil) // writes that t is nil
}

// A resolver of the test's own is asked as ever; the address that it returns is not dialled.
func TestOnlyLoopbackBesideDefaultResolver(t *testing.T) {
	tb := faketb.Run(t, func(tb *faketb.TB) {
		sockettest.OnlyLoopback(tb)
		host, _, _ := strings.Cut(beyond, ":")
		names := sockettest.Start(t, dnsfault.Zone{"db.example": {host}})
		sockettest.DefaultResolver(tb, names.Resolver())
		sockettest.OnlyLoopback(tb)
		addrs, err := net.LookupHost("db.example.")
		assert.NoError(t, err)
		assert.Equal(t, []string{host}, addrs)
		_, err = defaultClient(tb).Get("http://db.example.")
		assert.ErrorContains(t, err, "dial tcp "+beyond+": it is beyond loopback")
	})
	assert.Equal(t, 1, strings.Count(tb.Text(), "OnlyLoopback: dial tcp "+beyond), "%s", tb.Text())
}

// What a goroutine of a test does is that test's, and nobody's once it has ended; what nobody's
// does is everybody's.
func TestOnlyLoopbackBlamesTheCaller(t *testing.T) {
	var tbs [2]*faketb.TB
	began, asks, asked := make(chan bool, 2), make(chan string), make(chan bool)
	go func() { // of no test with a guard
		for name := range asks {
			_, err := net.LookupHost(name)
			assert.Error(t, err)
		}
		close(asked)
	}()
	var wg sync.WaitGroup
	var one sync.Mutex
	both := make(chan bool)
	for i, name := range []string{"one.example.", "two.example."} {
		wg.Go(func() {
			tbs[i] = faketb.Run(t, func(tb *faketb.TB) {
				one.Lock() // both are t's
				sockettest.OnlyLoopback(tb)
				one.Unlock()
				began <- true
				var inner sync.WaitGroup
				inner.Go(func() { _, _ = net.LookupHost(name) })
				inner.Wait()
				<-both
			})
		})
	}
	<-began
	<-began
	asks <- "pool.example."
	close(asks)
	<-asked
	after, late := make(chan struct{}), make(chan struct{})
	over := faketb.Run(t, func(tb *faketb.TB) {
		one.Lock()
		defer one.Unlock()
		sockettest.OnlyLoopback(tb)
		go func() {
			defer close(late)
			<-after
			_, err := net.LookupHost("late.example.")
			assert.Error(t, err)
		}()
	})
	close(after)
	<-late
	assert.Empty(t, over.Text(), "it has ended before")
	close(both)
	wg.Wait()
	for i, other := range []string{"two.example", "one.example"} {
		assert.Equal(t, 2, strings.Count(tbs[i].Text(), "OnlyLoopback: "), "%s", tbs[i].Text())
		assert.Contains(t, tbs[i].Text(), "lookup pool.example")
		assert.NotContains(t, tbs[i].Text(), other)
	}
}

func TestOnlyLoopbackInParallel(t *testing.T) {
	t.Parallel()
	if simnet.CanIntercept() == nil {
		t.Skip("with the overlay it may be parallel")
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.OnlyLoopback(tb) })
	assert.Contains(t, tb.Text(), "sockettest.OnlyLoopback: t is parallel, and package net is Go's own")
	assert.Contains(t, tb.Text(), "want sockettest.Main(m, sockettest.OnlyLoopbackAlways()) in TestMain")
}

// A dialer's own hook is asked first: one that sends nothing breaks no rule.
func TestOnlyLoopbackBesideDialer(t *testing.T) {
	sockettest.Armed(t, "a dialer that connects breaks the rule")
	tr := http.DefaultTransport.(*http.Transport)
	before := tr.DialContext
	defer func() { tr.DialContext = before }()
	tb := faketb.Run(t, func(tb *faketb.TB) {
		tr.DialContext = sockettest.Dialer(tb, sockettest.NoRoute{}).DialContext
		sockettest.OnlyLoopback(tb)
		_, err := defaultClient(tb).Get("http://" + beyond)
		assert.ErrorContains(t, err, "network is unreachable")
	})
	assert.False(t, tb.Failed(), "%s", tb.Text())
}

// Both label the test's goroutine, and neither takes off the other's label.
func TestOnlyLoopbackBesideNoLeaks(t *testing.T) {
	for name, verbs := range map[string][]func(testing.TB){
		"before": {sockettest.OnlyLoopback, func(t testing.TB) { sockettest.NoLeaks(t) }},
		"after":  {func(t testing.TB) { sockettest.NoLeaks(t) }, sockettest.OnlyLoopback},
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			for _, verb := range verbs {
				verb(tb)
			}
			inner := faketb.Here(tb, func(inner *faketb.TB) {
				sockettest.OnlyLoopback(inner)
				_, err := net.LookupHost("inner.example.")
				assert.Error(t, err)
			})
			assert.Contains(t, inner.Text(), "lookup inner.example", name)
			ep := sockettest.Start(tb, fixtures.Echo{})
			sockettest.Expect(tb, ep, sockettest.Accepted, func() error {
				c, err := net.Dial("tcp", ep.Addr())
				if err == nil {
					err = c.Close()
				}
				return err
			})
		})
		assert.False(t, tb.Failed(), "%s: %s", name, tb.Text())
	}
}
