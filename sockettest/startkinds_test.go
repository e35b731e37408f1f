package sockettest_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/sockettest"
)

// One verb runs every kind of fixture, and infers what it returns.
func TestStartRunsEveryKind(t *testing.T) {
	t.Parallel()
	var ep *fixtures.Endpoint = sockettest.Start(t, fixtures.Echo{})
	var datagrams *udp.Endpoint = sockettest.Start(t, udp.Drop{})
	var names *dnsfault.Endpoint = sockettest.Start(t, dnsfault.NXDomain{})
	var attack *hostile.Attack = sockettest.Start(t, hostile.ConnectOnly{Target: ep.Addr()})
	var dual *fixtures.DualEndpoint = sockettest.Start(t, fixtures.Dual{})
	for _, e := range []sockettest.Running{ep, datagrams, names, attack, dual} {
		assert.NotZero(t, e.Started())
		assert.NotEmpty(t, e.Rule())
	}
}

// The rows of a table have the type of an interface.
func TestStartTakesRowsOfTables(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stream   fixtures.Fixture
		datagram udp.Fixture
		server   dnsfault.Fixture
	}{
		{fixtures.Refused{}, udp.Silent{}, dnsfault.Silent{}},
		{fixtures.BlackHole{}, udp.Echo{}, dnsfault.NXDomain{}},
	} {
		assert.NotEmpty(t, sockettest.Start(t, tt.stream).Addr())
		assert.NotEmpty(t, sockettest.Start(t, tt.datagram).Addr())
		assert.NotEmpty(t, sockettest.Start(t, tt.server).Addr())
	}
}

// Without a test Start has nothing to run in: what it returns acts as a closed fixture.
func TestStartWithoutATest(t *testing.T) {
	t.Parallel()
	for _, e := range []sockettest.Running{
		sockettest.Start(nil, fixtures.Echo{}), sockettest.Start(nil, udp.Echo{}), sockettest.Start(nil, dnsfault.NXDomain{}),
		sockettest.Start(nil, hostile.ConnectOnly{}), sockettest.Start(nil, fixtures.Dual{}),
	} {
		assert.Empty(t, e.Events())
		assert.Zero(t, e.Started())
		assert.Contains(t, e.String(), "never started")
		assert.Empty(t, e.WatchContact()().Addrs)
		assert.NoError(t, e.Close())
	}
	sockettest.Bubble(t, func(t *testing.T) { // it is closed to make the operation return
		sockettest.Expect(t, &fixtures.DualEndpoint{}, sockettest.Blocked.For(time.Second).Unreached(), func() error {
			<-time.After(2 * time.Second)
			return nil
		})
	})
}

// An Outcome alone is a want, and a call that returns a value is an operation.
func TestExpectTakesOutcomesAndValues(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Refused{})
	dial := func(ctx context.Context) (net.Conn, error) { return ep.DialContext(ctx, "tcp", "") }
	sockettest.Expect(t, ep, sockettest.Rejected, sockettest.Value(dial))
	sockettest.Expect(t, ep, sockettest.Rejected.In("connect").AtOnce(), sockettest.Value(dial))

	tb := faketb.Run(t, func(tb *faketb.TB) {
		ep := sockettest.Start(tb, fixtures.Refused{})
		sockettest.Expect(tb, ep, nil, sockettest.Value(dial))
		sockettest.Expect(tb, ep, sockettest.Rejected, sockettest.Value[int](nil))
	})
	assert.Contains(t, tb.Text(), "bad argument: sockettest.Expect: want is nil; want an outcome")
	assert.Contains(t, tb.Text(), "bad argument: sockettest.Expect: op is nil; want a function to run")
}
