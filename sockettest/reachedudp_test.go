package sockettest_test

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// judgeUDP runs an operation that does not reach the fixture by itself, and says whether one of the
// two verdicts takes it for one that did.
func judgeUDP(t *testing.T, ep *udp.Endpoint, op func()) (reached bool) {
	t.Helper()
	elsewhere := &net.OpError{Op: "dial", Net: "udp", Addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: errOwn}
	green := faketb.Run(t, func(tb *faketb.TB) {
		sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn), func() error { op(); return elsewhere })
	}).Text() == ""
	unwanted := faketb.Run(t, func(tb *faketb.TB) {
		sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn).Unreached(), func() error { op(); return errOwn })
	}).Text() != ""
	return green || unwanted
}

// A datagram that was sent before the operation is no contact of it, though the fixture reads it
// and answers meanwhile.
func TestReachedByADatagramFromBefore(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
				ep := sockettest.Start(t, udp.Echo{}, append(opts, apart)...)
				c, err := dial(t.Context(), "udp", ep.Addr())
				require.NoError(t, err)
				for range 20 {
					_, _ = io.WriteString(c, "x")
				}
				require.NoError(t, c.Close())
				assert.False(t, judgeUDP(t, ep, func() {}))
			})
		})
	}
}

// What is in the air, or is answered only now, is none either.
func TestReachedByADatagramInTheAir(t *testing.T) {
	t.Parallel()
	for _, f := range []udp.Fixture{udp.Echo{}, udp.Late{Delay: 2 * time.Second}} {
		sockettest.Bubble(t, func(t *testing.T) {
			nw := simnet.New(t)
			client, server := nw.Host("client"), nw.Host("server")
			ep := sockettest.Start(t, f, sockettest.On(server))
			defer nw.Link(client, server).Latency(time.Second)()
			c, err := client.DialContext(t.Context(), "udp", ep.Addr())
			require.NoError(t, err)
			_, _ = io.WriteString(c, "x")
			require.NoError(t, c.Close())
			assert.False(t, judgeUDP(t, ep, func() { <-time.After(10 * time.Second) }))
		})
	}
}

// A datagram that was sent to the server that had the port before is none of the fixture's.
func TestReachedByADatagramToAnother(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		client, server := nw.Host("client"), nw.Host("server")
		was := sockettest.Start(t, udp.Echo{}, sockettest.On(server))
		defer nw.Link(client, server).Latency(time.Second)()
		c, err := client.DialContext(t.Context(), "udp", was.Addr())
		require.NoError(t, err)
		defer c.Close()
		_, _ = io.WriteString(c, "x")
		require.NoError(t, was.Close())
		ep := sockettest.Start(t, udp.Echo{}, sockettest.On(server), sockettest.Address(was.Addr()))
		assert.False(t, judgeUDP(t, ep, func() { <-time.After(10 * time.Second) }))
	})
}
