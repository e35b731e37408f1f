package sockettest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/simnet"
)

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
