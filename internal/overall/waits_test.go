package overall_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/sockettest"
)

// What a package tests in virtual time, and what takes 2 s on the kernel.

// stuckDatagrams and stuckNames do not return when their endpoint closes.
type (
	stuckDatagrams chan struct{}
	stuckNames     struct{ called, release chan struct{} }
)

func (s stuckDatagrams) Plan() (udp.Plan, error) {
	return udp.Plan{Serve: func(udp.Request) { <-s }}, nil
}

func (s stuckNames) Plan() (dnsfault.Plan, error) {
	return dnsfault.Plan{Serve: func(q dnsfault.Query) { q.After(0, func() { close(s.called); <-s.release }) }}, nil
}

const closeWaits = "Close waits 2 s; virtual time shows the same"

func TestCloseNamesAServeOfUDPThatIsStuck(t *testing.T) {
	manytests.Long(t, closeWaits)
	t.Parallel()
	stuck := make(stuckDatagrams)
	ep, err := udp.Start(t.Context(), stuck, fixtures.Place{})
	require.NoError(t, err)
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, ep.Await(t.Context(), fixtures.Received, 1))
	err = ep.Close()
	close(stuck)
	require.ErrorContains(t, err, "Serve has not returned; it must not block")
}

func TestCloseNamesAServeOfNamesThatIsStuck(t *testing.T) {
	manytests.Long(t, closeWaits)
	t.Parallel()
	stuck := stuckNames{make(chan struct{}), make(chan struct{})}
	ep, err := dnsfault.Start(t.Context(), stuck, fixtures.Place{})
	require.NoError(t, err)
	c, err := ep.DialContext(t.Context(), "udp", "")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(query(t, "example.com.", dnsmessage.TypeA, dnsmessage.ClassINET))
	require.NoError(t, err)
	<-stuck.called
	err = ep.Close()
	close(stuck.release)
	require.ErrorContains(t, err, "after 2s, Serve has not returned; it must not block")
}

// A client that vanished is told by keep-alive. The kernel's least is 1 s and 1 s.
func TestVanishedConnectOnlyEndsByConfig(t *testing.T) {
	manytests.KernelTimer(t)
	manytests.NeedsMinTTL(t)
	t.Parallel()
	sockettest.NoLeaks(t)
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	a := sockettest.Start(t, hostile.ConnectOnly{Target: ln.Addr().String()})
	op := func(ctx context.Context) error { // the accept as well, which begins to probe: at once, if the connection is old by then
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		a.Conns()[0].Partition()
		return readUntilDone(c)(ctx)
	}
	sockettest.Expect(t, a, sockettest.TimedOut.After(time.Second).Before(20*time.Second).In("read"), op)
}
