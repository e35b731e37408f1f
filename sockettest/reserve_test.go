package sockettest_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

// serveOnce accepts a connection at addr, and gives the address back.
func serveOnce(t *testing.T, nw network.Stack, addr, dial string) {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", addr)
	require.NoError(t, err)
	_, err = nw.Listen(t.Context(), "tcp", addr)
	require.ErrorIs(t, err, syscall.EADDRINUSE, "the address has one server")
	c, err := nw.DialContext(t.Context(), "tcp", dial)
	require.NoError(t, err)
	s, err := ln.Accept()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
	require.NoError(t, ln.Close())
}

func TestReserve(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		for _, family := range []string{"tcp4", "tcp6"} {
			if family == "tcp6" && nw == sockettest.Kernel && manytests.IPv6() != nil {
				continue
			}
			addr := sockettest.Reserve(t, sockettest.On(nw), sockettest.Family(family))
			for range 2 {
				_, err := nw.DialContext(t.Context(), "tcp", addr)
				require.ErrorIs(t, err, syscall.ECONNREFUSED, "nobody listens")
				serveOnce(t, nw, addr, addr)
			}
			_, err := nw.Bind(t.Context(), family, addr)
			require.ErrorIs(t, err, syscall.EADDRINUSE, "a fixture does not get it")
			if _, port, err := net.SplitHostPort(addr); assert.NoError(t, err) && nw != sockettest.Kernel { // whose Listen is for loopback only
				serveOnce(t, nw, ":"+port, addr)
			}
		}
	})
}

// Of 500 ports that are only given back, listeners get some 36 by chance, if the ports are in the
// half of the range that the kernel prefers.
func TestReservedIsNobodyElses(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a port is reserved on Linux only")
	}
	manytests.NeedsDescriptors(t, 1600)
	ours := map[string]bool{}
	for range 500 {
		addr := sockettest.Reserve(t)
		require.False(t, ours[addr])
		ours[addr] = true
	}
	for range 500 {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, ln.Close()) })
		c, err := net.Dial("tcp4", ln.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, c.Close()) })
		require.False(t, ours[ln.Addr().String()] || ours[c.LocalAddr().String()])
	}
}

const reservedEnv = "SOCKETTEST_RESERVED"

// A server in another process gets the address, on that address and on all.
func TestReserveForAChild(t *testing.T) {
	if addr := os.Getenv(reservedEnv); addr != "" {
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		for _, at := range []string{addr, ":" + port} {
			ln, err := net.Listen("tcp4", at)
			require.NoError(t, err)
			require.NoError(t, ln.Close())
		}
		return
	}
	out, err := manytests.Start(t, reservedEnv+"="+sockettest.Reserve(t), "-test.run=^TestReserveForAChild$")()
	require.NoError(t, err, out)
}

func TestReserveBadInput(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string][]sockettest.Option{
		"bad argument: sockettest.Reserve: State.Answer is \"lend\"; want it on TCP only: a path is free until it is bound": {sockettest.Family("unix")},
		"bad argument: sockettest.Reserve: network is \"udp\"; want tcp, tcp4, tcp6 or unix":                                {sockettest.Family("udp")},
		"bad argument: sockettest.Reserve: an option is nil; want On, Family or Address":                                    {nil},
		"address is \"1717\"; want an IP literal and a port":                                                                {sockettest.Address("1717")},
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Reserve(tb, opts...) })
		assert.True(t, tb.Died())
		assert.Contains(t, tb.Text(), want)
	}
	assert.Empty(t, sockettest.Reserve(nil))
}

// A client that waits for its server, which is not up yet.
func ExampleReserve() {
	err := sockettest.Try(func(t testing.TB) {
		addr := sockettest.Reserve(t)
		_, err := net.Dial("tcp", addr)
		fmt.Println(errors.Is(err, syscall.ECONNREFUSED))

		server := &http.Server{Addr: addr} // under test
		go server.ListenAndServe()
		defer server.Close()
		for err != nil {
			var resp *http.Response
			if resp, err = http.Get("http://" + addr); err == nil { // under test: a client that tries again
				fmt.Println(resp.Status)
				resp.Body.Close()
			}
		}
	})
	fmt.Println(err)
	// Output:
	// true
	// 404 Not Found
	// <nil>
}
