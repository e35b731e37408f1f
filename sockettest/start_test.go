package sockettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
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

func TestStartUDPEndsWithTheTest(t *testing.T) {
	t.Parallel()
	manytests.NeedsIPv6(t)
	var ep *udp.Endpoint
	tb := faketb.Run(t, func(tb *faketb.TB) {
		NoLeaks(tb)
		ep = Start(tb, udp.Late{Delay: time.Hour}, Family("udp6"))
		assert.True(t, strings.HasPrefix(ep.Addr(), "[::1]:"))
		c, err := ep.DialContext(t.Context(), "", "")
		assert.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("hello"))
		assert.NoError(t, err)
		assert.NoError(t, ep.Await(t.Context(), fixtures.Received, 1))
	})
	require.False(t, tb.Failed(), tb.Text())
	require.ErrorIs(t, ep.Become(udp.Echo{}), net.ErrClosed)
	assert.Empty(t, Start(nil, udp.Echo{}).Addr())
}

func TestStartUDPIsFatal(t *testing.T) {
	t.Parallel()
	taken := Start(t, udp.Refused{})
	for _, tt := range []struct {
		name    string
		fixture udp.Fixture
		opt     Option
		want    string
	}{
		{"nil fixture", nil, Family("udp"), "bad argument: sockettest.Start: fixture is nil; want one such as"},
		{"nil option", udp.Echo{}, nil, "bad argument: sockettest.Start: an option is nil"},
		{"bad field", udp.Late{Delay: -1}, Family("udp"), "bad argument: sockettest.Start: udp.Late{Delay: -1ns}: Late.Delay is -1ns"},
		{"a stream's network", udp.Echo{}, Family("tcp"), `udp.Echo{}: network is "tcp"; want udp, udp4 or udp6`},
		{"port in use", udp.Echo{}, Address(taken.Addr()), "is in use; choose another port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Run(t, func(tb *faketb.TB) {
				Start(tb, tt.fixture, tt.opt)
				t.Error("Start returned")
			})
			require.True(t, tb.Died())
			assert.Contains(t, tb.Text(), tt.want)
		})
	}
}

// What a client of UDP meets has the same outcomes.
func TestClassifyRealDatagrams(t *testing.T) {
	t.Parallel()
	ep := Start(t, udp.Refused{})
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.Equal(t, []Class{{Rejected, "read", ""}}, Classify(err), "%v", err)

	require.NoError(t, ep.Become(udp.Silent{}))
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	require.Equal(t, []Class{{TimedOut, "read", "deadline"}}, Classify(err), "%v", err)
}

// Expect judges what a client of UDP does, and its report tells what the fixture saw.
func TestExpectJudgesDatagrams(t *testing.T) {
	t.Parallel()
	const limit = 30 * time.Millisecond
	ep := Start(t, udp.Silent{})
	ask := func() error { // under test
		c, err := net.Dial("udp", ep.Addr())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("who?")); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(limit))
		_, err = c.Read(make([]byte, 8))
		return err
	}
	Expect(t, ep, TimedOut.After(limit).In("read"), ask)
	seen := func() error { // the report is written when the fixture has seen both
		err := ask()
		assert.NoError(t, ep.Await(t.Context(), fixtures.Received, 2))
		return err
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { Expect(tb, ep, Accepted.Before(limit), seen) })
	require.True(t, tb.Failed())
	assert.Contains(t, tb.Text(), "fixture  udp.Silent{} on 127.0.0.1:")
	assert.Contains(t, tb.Text(), `: 4 B, "who?"`)
	require.NoError(t, ep.Become(udp.Refused{}))
	Expect(t, ep, Rejected.Before(10*time.Second).In("read"), ask)
}

// How a net.Dialer gets on with a name whose addresses answer in all ways.
func TestStartDualHappyEyeballs(t *testing.T) {
	t.Parallel()
	const delay, limit = 50 * time.Millisecond, 150 * time.Millisecond
	hole, refused, echo := fixtures.BlackHole{}, fixtures.Refused{}, fixtures.Echo{}
	for _, tt := range []struct {
		name string
		dual fixtures.Dual
		stop time.Duration // the limit of the connects; 0 is none
		want Window
	}{
		{"both answer", fixtures.Dual{IPv6: echo, IPv4: echo}, 0, Accepted.Before(delay)},
		{"IPv6 hangs", fixtures.Dual{IPv6: hole, IPv4: echo}, 0, Accepted.After(delay)},
		{"IPv6 refuses", fixtures.Dual{IPv6: refused, IPv4: echo}, 0, Accepted.Before(delay)},
		{"both refuse", fixtures.Dual{IPv6: refused, IPv4: refused}, 0, Rejected.Before(delay)},
		{"both hang", fixtures.Dual{IPv6: hole, IPv4: hole}, limit, TimedOut.After(limit)},
		{"IPv6 hangs, IPv4 refuses", fixtures.Dual{IPv6: hole, IPv4: refused}, limit, TimedOut.After(limit)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			NoLeaks(t)
			dual := Start(t, tt.dual)
			d := dual.Dialer()
			d.FallbackDelay = delay

			Expect(t, dual.IPv6, tt.want, func(ctx context.Context) error {
				if tt.stop > 0 {
					limited := &connectLimit{Context: ctx, done: make(chan struct{})}
					d.ControlContext = limited.begin(tt.stop)
					ctx = limited
				}
				c, err := d.DialContext(ctx, "tcp", dual.HostPort())
				if err != nil {
					return err
				}
				_ = c.(*net.TCPConn).SetLinger(0)
				return c.Close()
			})
		})
	}
}

// A connectLimit is a context whose time begins with the first connect: on a machine that stalls
// the lookup before would take all of it.
type connectLimit struct {
	context.Context
	done chan struct{}
	once sync.Once
}

// begin returns what a dialer calls before each connect.
func (c *connectLimit) begin(limit time.Duration) func(context.Context, string, string, syscall.RawConn) error {
	return func(context.Context, string, string, syscall.RawConn) error {
		c.once.Do(func() { time.AfterFunc(limit, func() { close(c.done) }) })
		return nil
	}
}

func (c *connectLimit) Done() <-chan struct{} { return c.done }

func (c *connectLimit) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// In virtual time the fallback is exact, for an HTTP client too.
func TestStartDualInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		NoLeaks(t)
		ok := fixtures.Scripted{Steps: script.Script{script.ReadUntil("\r\n\r\n"), script.Send("HTTP/1.1 204 No Content\r\n\r\n"), script.Discard()}}
		dual := Start(t, fixtures.Dual{IPv6: fixtures.BlackHole{}, IPv4: ok}, On(simnet.New(t)))
		tr := &http.Transport{DialContext: dual.DialFunc(0)}
		defer tr.CloseIdleConnections()

		Expect(t, dual.IPv6, Accepted.At(300*time.Millisecond), func() error {
			resp, err := (&http.Client{Transport: tr}).Get("http://" + dual.HostPort())
			if err != nil {
				return err
			}
			return resp.Body.Close()
		})
	})
}

func TestStartDualEndsWithTheTest(t *testing.T) {
	t.Parallel()
	manytests.NeedsIPv6(t)
	var dual *fixtures.DualEndpoint
	tb := faketb.Run(t, func(tb *faketb.TB) { dual = Start(tb, fixtures.Dual{}) })
	require.False(t, tb.Failed())
	require.ErrorIs(t, dual.IPv4.Become(fixtures.Echo{}), net.ErrClosed)
	require.ErrorIs(t, dual.IPv6.Become(fixtures.Echo{}), net.ErrClosed)
}

func TestStartDualIsFatal(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) { Start(tb, fixtures.Dual{}, Family("tcp4")) })
	assert.True(t, tb.Died())
	assert.Contains(t, tb.Text(), `bad argument: sockettest.Start: Place.Family is "tcp4"; want it empty`)
	assert.NoError(t, Start(nil, fixtures.Dual{}).Close())
}

// A connection that the client left open is found on either address.
func TestStartDualFindsLeaks(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]fixtures.Dual{"both": {}, "IPv6 refused": {IPv6: fixtures.Refused{}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manytests.NeedsIPv6(t)
			var c net.Conn
			tb := faketb.Run(t, func(tb *faketb.TB) {
				noLeaks(tb, moment, nil)
				dual := Start(tb, left)
				var err error
				c, err = dual.Dialer().DialContext(t.Context(), "tcp", dual.HostPort())
				if err != nil {
					tb.Error(err)
					return
				}
				for _, ep := range []*fixtures.Endpoint{dual.IPv4, dual.IPv6} {
					if ep.Addr() == c.RemoteAddr().String() {
						_ = ep.Await(t.Context(), fixtures.ConnAccepted, 1)
					}
				}
			})
			assert.True(t, tb.Failed())
			assert.Contains(t, tb.Text(), "leak: 1 connection left behind")
			require.NotNil(t, c)
			require.NoError(t, c.Close())
		})
	}
}
