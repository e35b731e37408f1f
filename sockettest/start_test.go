package sockettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

func TestStartEndsWithTheTest(t *testing.T) {
	t.Parallel()
	var ep *fixtures.Endpoint
	tb := faketb.Run(t, func(tb *faketb.TB) { ep = Start(tb, fixtures.Echo{}) })
	require.False(t, tb.Failed())
	require.ErrorIs(t, ep.Become(fixtures.Echo{}), net.ErrClosed)
}

func TestStartOptions(t *testing.T) {
	t.Parallel()
	assert.True(t, strings.HasPrefix(Start(t, fixtures.Echo{}, Family("tcp6")).Addr(), "[::1]:"))
	ep := Start(t, fixtures.Echo{}, Address("127.0.0.2:0"))
	assert.True(t, strings.HasPrefix(ep.Addr(), "127.0.0.2:"))
	assert.NotEqual(t, "127.0.0.2:0", ep.Addr())
}

func TestStartIsFatal(t *testing.T) {
	t.Parallel()
	taken := Start(t, fixtures.Refused{})
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		opt     Option
	}{
		{"nil fixture", nil, Family("tcp")},
		{"nil option", fixtures.Echo{}, nil},
		{"bad field", fixtures.SlowAccept{Delay: -1}, Family("tcp")},
		{"port in use", fixtures.Echo{}, Address(taken.Addr())},
		{"not on loopback", fixtures.Echo{}, Address("8.8.8.8:53")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Run(t, func(tb *faketb.TB) {
				Start(tb, tt.fixture, tt.opt)
				t.Error("Start returned")
			})
			require.True(t, tb.Died())
			golden(t, steady(tb.Text()))
		})
	}
}

// A stack that cannot: what the platform does not have skips the test, with the reason.
type poor struct {
	network.Stack // nil: nothing but Bind is called
	err           error
}

func (p poor) Bind(context.Context, string, string) (network.Port, error) { return nil, p.err }

func TestStartSkipsWhatThePlatformCannotGive(t *testing.T) {
	t.Parallel()
	cannot := fmt.Errorf("plan9: SYNs cannot be dropped: %w", errors.ErrUnsupported)
	tb := faketb.Run(t, func(tb *faketb.TB) { Start(tb, fixtures.BlackHole{}, On(poor{err: cannot})) })
	assert.False(t, tb.Failed())
	assert.Equal(t, "sockettest.Start: BlackHole{}: plan9: SYNs cannot be dropped: unsupported operation", tb.Reason())

	tb = faketb.Run(t, func(tb *faketb.TB) { Start(tb, fixtures.BlackHole{}, On(poor{err: syscall.EMFILE})) })
	assert.True(t, tb.Died())
	assert.Contains(t, tb.Text(), "BlackHole{}: too many open files")
	assert.Contains(t, tb.Text(), "no descriptors are left")
	assert.NotContains(t, tb.Text(), "bad argument")
}

// A fixture is closed by a cleanup: when those run it is too late to start one, on every network.
func TestStartAfterTheTest(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(tb *faketb.TB){
		"Start":           func(tb *faketb.TB) { Start(tb, fixtures.Echo{}) },
		"Start on simnet": func(tb *faketb.TB) { Start(tb, fixtures.Echo{}, On(simnet.New(t))) },
		"StartUDP":        func(tb *faketb.TB) { Start(tb, udp.Silent{}) },
		"StartDual":       func(tb *faketb.TB) { Start(tb, fixtures.Dual{IPv4: fixtures.Echo{}, IPv6: fixtures.Echo{}}) },
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) { tb.Cleanup(func() { start(tb) }) })
		assert.Contains(t, tb.Text(), "the test has ended", name)
		assert.NotContains(t, tb.Text(), "bad argument", name)
	}
}
