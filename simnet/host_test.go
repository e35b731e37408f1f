package simnet_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// A listens is what listeners are made with.
type listens interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
}

// greeter greets each client with a name, until the test ends.
func greeter(t *testing.T, on listens, nw, address, name string) net.Addr {
	t.Helper()
	ln, err := on.Listen(t.Context(), nw, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			_, _ = io.WriteString(c, name)
			_ = c.Close()
		}
	}()
	return ln.Addr()
}

// greeting is who answers.
func greeting(t *testing.T, from network.Stack, address string) (name string, c net.Conn) {
	t.Helper()
	c, err := from.DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer c.Close()
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(b), c
}

func TestHostsReachEachOther(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		app, db := nw.Host("app"), nw.Host("db.example", "192.0.2.7", "2001:db8::7")
		assert.Same(t, db, nw.Host("db.example"))
		assert.Equal(t, "db.example (192.0.2.7, 2001:db8::7)", db.String())
		greeter(t, db, "tcp", ":5432", "db")
		for _, from := range []network.Stack{app, db, nw, nw.Host("localhost")} {
			for _, address := range []string{"db.example:5432", "DB.Example.:5432", "192.0.2.7:5432", "[2001:db8::7]:5432"} {
				name, _ := greeting(t, from, address)
				assert.Equal(t, "db", name, address)
			}
		}
		_, c := greeting(t, app, "db.example:5432")
		assert.Equal(t, app.Addr().String(), c.LocalAddr().(*net.TCPAddr).IP.String())
		_, c = greeting(t, app, "[2001:db8::7]:5432")
		assert.Equal(t, app.Addr6().String(), c.LocalAddr().(*net.TCPAddr).IP.String())
		_, c = greeting(t, db, "192.0.2.7:5432")
		assert.Equal(t, "192.0.2.7", c.LocalAddr().(*net.TCPAddr).IP.String())
		_, err := app.Dial("tcp", "localhost:5432")
		require.ErrorIs(t, err, syscall.ECONNREFUSED, "nobody listens there")
	})
}

// Each machine has a loopback and ports of its own.
func TestLoopbackIsNobodyElses(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		for _, h := range []*simnet.Host{a, b, nw.Host("localhost")} {
			greeter(t, h, "tcp", "127.0.0.1:80", h.Name())
			name, _ := greeting(t, h, "localhost:80")
			assert.Equal(t, h.Name(), name)
		}
		_, err := a.Dial("tcp", "b:80")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		_, err = a.Listen(t.Context(), "tcp", net.JoinHostPort(b.Addr().String(), "81"))
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		greeter(t, b, "tcp4", "0.0.0.0:81", "all of b")
		name, _ := greeting(t, a, "b:81")
		assert.Equal(t, "all of b", name)
	})
}

func TestAddressesThatNobodyHas(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		_, err := nw.Dial("tcp", "10.255.255.1:80")
		require.ErrorIs(t, err, syscall.ENETUNREACH, "a machine that has only its loopback")

		old := nw.Host("old", "192.0.2.1")
		begin := time.Now()
		_, err = old.Dial("tcp", "10.255.255.1:80")
		require.ErrorIs(t, err, syscall.EHOSTUNREACH)
		require.EqualError(t, err, "dial tcp 10.255.255.1:80: connect: no route to host")
		assert.Equal(t, 3*time.Second, time.Since(begin))

		_, err = old.Dial("tcp", "[2001:db8::1]:80")
		require.ErrorIs(t, err, syscall.ENETUNREACH, "it has no IPv6")
		var dns *net.DNSError
		_, err = old.Dial("tcp", "nobody:80")
		require.ErrorAs(t, err, &dns)
		assert.True(t, dns.IsNotFound)
		_, err = old.Bind(t.Context(), "tcp6", "")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		require.ErrorContains(t, err, "old (192.0.2.1)")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = old.DialContext(ctx, "tcp", "10.255.255.1:80")
		require.ErrorContains(t, err, "i/o timeout")
		assert.Empty(t, nw.Sockets())
	})
}

// An address that nobody answers at is what tests dial 10.255.255.1 for: here it is a black hole on
// every try.
func TestHostThatPlaysDead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		dead := nw.Host("dead", "10.255.255.1")
		p, err := dead.Bind(t.Context(), "tcp", "dead:80")
		require.NoError(t, err)
		require.NoError(t, p.Become(network.State{Answer: network.Drop}))
		begin := time.Now()
		_, err = nw.Dial("tcp", "10.255.255.1:80")
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.Equal(t, 131*time.Second, time.Since(begin))
	})
}

func TestPacketsBetweenHosts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		server, err := b.ListenPacket(t.Context(), "udp", ":53")
		require.NoError(t, err)
		defer server.Close()
		c, err := a.Dial("udp", "b:53")
		require.NoError(t, err)
		defer c.Close()
		write(t, c, "ping")
		buf := make([]byte, 9)
		n, from, err := server.ReadFrom(buf)
		require.NoError(t, err)
		assert.Equal(t, "ping", string(buf[:n]))
		assert.Equal(t, a.Addr().String(), from.(*net.UDPAddr).IP.String())
		_, err = server.WriteTo([]byte("pong"), from)
		require.NoError(t, err)
		read(t, c, "pong")

		closed, err := a.Dial("udp", "b:54")
		require.NoError(t, err)
		defer closed.Close()
		write(t, closed, "ping")
		require.ErrorIs(t, readErr(closed), syscall.ECONNREFUSED)

		own, err := a.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer own.Close()
		_, err = own.WriteTo([]byte("ping"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.Addr(), 53)))
		require.ErrorIs(t, err, syscall.EINVAL, "nothing comes back to 127.0.0.1 from there")
	})
}

func TestResolverKnowsTheHosts(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	nw.Host("db.test", "192.0.2.7", "2001:db8::7")
	addrs, err := nw.Resolver().LookupHost(t.Context(), "db.test.")
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"192.0.2.7", "2001:db8::7"}, addrs)
	_, err = nw.Resolver().LookupHost(t.Context(), "nobody.test.")
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
	assert.True(t, dns.IsNotFound)
}

func TestHostsThatCannotBe(t *testing.T) {
	t.Parallel()
	other := simnet.New(t).Host("other")
	for want, ask := range map[string]func(nw *simnet.Network){
		"letters, digits":                              func(nw *simnet.Network) { nw.Host("") },
		"Host(\"10.0.0.9\")":                           func(nw *simnet.Network) { nw.Host("10.0.0.9") },
		"Host(\"data base\")":                          func(nw *simnet.Network) { nw.Host("data base") },
		"want an IP literal":                           func(nw *simnet.Network) { nw.Host("a", "b") },
		"other machines can reach":                     func(nw *simnet.Network) { nw.Host("a", "127.0.0.9") },
		"of one family":                                func(nw *simnet.Network) { nw.Host("a", "192.0.2.1", "192.0.2.2") },
		"192.0.2.1 and 192.0.2.2":                      func(nw *simnet.Network) { nw.Host("a", "192.0.2.1", "::ffff:192.0.2.2") },
		"that of host \"a\"":                           func(nw *simnet.Network) { nw.Host("a", "192.0.2.1"); nw.Host("b", "192.0.2.1") },
		"it is there already":                          func(nw *simnet.Network) { nw.Host("a"); nw.Host("a", "192.0.2.1") },
		"not on this network":                          func(nw *simnet.Network) { nw.Link(nw.Host("a"), other) },
		"To: a host is other":                          func(nw *simnet.Network) { nw.Host("a").To(other) },
		"Link: a host is <nil>":                        func(nw *simnet.Network) { nw.Link(nil, other) },
		"d is -1ns; want 0":                            func(nw *simnet.Network) { nw.Latency(-1) },
		"Jitter: d is -1ns":                            func(nw *simnet.Network) { nw.Jitter(-1) },
		"Bandwidth: bytesPer":                          func(nw *simnet.Network) { nw.Bandwidth(-1) },
		"Loss: share is 1.1":                           func(nw *simnet.Network) { nw.Loss(1.1) },
		"Reorder: share is -0.1":                       func(nw *simnet.Network) { nw.Reorder(-0.1) },
		"MTU: bytes is 67; want 68":                    func(nw *simnet.Network) { nw.MTU(67) },
		"Forget: idle is -1ns; want 1ns or more, or 0": func(nw *simnet.Network) { nw.Forget(-1) },
		"ForgetReset: idle is -1ns":                    func(nw *simnet.Network) { nw.ForgetReset(-1) },
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) { ask(simnet.New(tb)) })
		assert.True(t, tb.Died(), want)
		assert.Contains(t, tb.Text(), want)
	}
	assert.Panics(t, func() { simnet.New(nil).Latency(-1) }, "there is no test to end")
}

// A context that has ended opens nothing.
func TestNothingOpensAfterItsContext(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, open := range map[string]func() (any, error){
		"Bind":         func() (any, error) { return nw.Bind(ctx, "tcp", "") },
		"BindPacket":   func() (any, error) { return nw.BindPacket(ctx, "udp", "") },
		"Listen":       func() (any, error) { return nw.Listen(ctx, "tcp", "127.0.0.1:0") },
		"ListenPacket": func() (any, error) { return nw.ListenPacket(ctx, "udp", "127.0.0.1:0") },
		"Connect":      func() (any, error) { return nw.Connect(ctx, "tcp", "127.0.0.1:1", network.ConnectOptions{}) },
		"DialContext":  func() (any, error) { return nw.DialContext(ctx, "tcp", "127.0.0.1:1") },
	} {
		got, err := open()
		require.Error(t, err, name)
		assert.Nil(t, got, name)
	}
	assert.Empty(t, nw.Sockets())
}
