package sockettest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// The phase of what is blocked is checked, and where it cannot be told the report says so.
func TestBlockedInItsPhase(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		if nw == sockettest.Kernel {
			manytests.Long(t, "four calls wait")
		}
		get := func(ctx context.Context, ep *fixtures.Endpoint) error {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ep.Addr(), nil)
			tr := &http.Transport{DialContext: nw.DialContext}
			defer tr.CloseIdleConnections()
			resp, err := tr.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		connect := func(ctx context.Context, ep *fixtures.Endpoint) error {
			c, err := nw.DialContext(ctx, "tcp", ep.Addr())
			if err == nil {
				_ = c.Close()
			}
			return err
		}
		for _, tt := range []struct {
			phase, said string
			op          func(context.Context, *fixtures.Endpoint) error
		}{
			{"connect", "", connect},
			{"read", "connect: still blocked, want it in read", connect},
			{"read", "its stack does not show whether in read", get},
			{"call", "", get},
		} {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, fixtures.BlackHole{}, sockettest.On(nw))
				sockettest.Expect(tb, ep, sockettest.Blocked.For(10*soon).In(tt.phase), func(ctx context.Context) error { return tt.op(ctx, ep) })
			})
			assert.Equal(t, tt.said != "", tb.Failed(), "%s: %s", tt.phase, tb.Text())
			assert.Contains(t, tb.Text(), tt.said)
		}
	})
}

// The phase of a wanted error is that of the branch it is in.
func TestErrorIsInItsOwnBranch(t *testing.T) {
	t.Parallel()
	mine := errors.New("all replicas failed")
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	late := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	for _, tt := range []struct {
		err, target error
		phase       string
		said        string
	}{
		{fmt.Errorf("%w: %w, %w", mine, refused, late), os.ErrDeadlineExceeded, "read", ""},
		{errors.Join(late, &net.OpError{Op: "dial", Err: mine}), mine, "connect", ""},
		{errors.Join(late, &net.OpError{Op: "dial", Err: mine}), mine, "read", "want it in read"},
		{errors.Join(mine, late), mine, "read", ""},
		{late, late, "read", ""},
	} {
		r := sockettest.Measure(func() error { return tt.err })
		err := sockettest.ErrorIs(tt.target).In(tt.phase).Check(r)
		if tt.said == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, tt.said)
		}
	}
}

func TestAcceptedHasNoPhase(t *testing.T) {
	t.Parallel()
	err := sockettest.Accepted.In("connect").Check(sockettest.Measure(func() error { return nil }))
	assert.ErrorContains(t, err, "want it without In")
}

// The context of an operation is cancelled when Expect returns.
func TestContextEndsWithExpect(t *testing.T) {
	t.Parallel()
	var kept context.Context
	ep := sockettest.Start(t, fixtures.NeverAccept{})
	sockettest.Expect(t, ep, sockettest.Accepted, func(ctx context.Context) error {
		kept = ctx
		c, err := ep.DialContext(ctx, "", "")
		if err == nil {
			err = c.Close()
		}
		return err
	})
	assert.ErrorIs(t, kept.Err(), context.Canceled)
	tb := faketb.Run(t, func(tb *faketb.TB) {
		sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn).Unreached(), func() error { return errOwn })
	})
	assert.NotContains(t, tb.Text(), "want a fixture that listens, ")
}

// A timeout that came at once is that of a deadline which was past before.
func TestReportOfADeadlineThatWasPast(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) { // where no machine is slow
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(simnet.New(t)))
		c, err := ep.DialContext(t.Context(), "tcp", ep.Addr())
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(-time.Second)))
		err = sockettest.Try(func(t testing.TB) {
			sockettest.Expect(t, ep, sockettest.Accepted, func() error { _, err := c.Write([]byte("x")); return err })
		})
		require.ErrorContains(t, err, "it did not wait: the deadline was past when the call began")
	})
}

// An address that an error names is that of another fixture, if it is.
func TestReportNamesTheOtherFixture(t *testing.T) {
	t.Parallel()
	ep, other, dual := sockettest.Start(t, fixtures.Echo{}), sockettest.Start(t, fixtures.Refused{}), sockettest.Start(t, fixtures.Dual{IPv4: fixtures.Refused{}})
	for addr, whole := range map[string]sockettest.Running{other.Addr(): other, dual.IPv4.Addr(): dual} {
		err := sockettest.Try(func(t testing.TB) {
			sockettest.Expect(t, ep, sockettest.Rejected, func() error { _, err := net.Dial("tcp", addr); return err })
		})
		require.ErrorContains(t, err, "the error names "+addr+", which is that of "+whole.String())
	}
}

// What happened in a Dual has its family, whatever it is.
func TestReportOfADualTellsFamilies(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		for _, tt := range []struct {
			closes fixtures.EventKind
			want   string
		}{
			{fixtures.Ended, "closed    IPv6 #1 by the fixture, after 0 B in, 0 B out\n"},
			{fixtures.PeerFIN, "FIN       IPv6 #1 from the client\n"},
		} {
			d := sockettest.Start(t, fixtures.Dual{IPv6: fixtures.Silent{}}, sockettest.On(nw))
			err := sockettest.Try(func(t testing.TB) {
				sockettest.Expect(t, d, sockettest.Rejected, func(ctx context.Context) error {
					c, err := d.IPv6.DialContext(ctx, "tcp", "")
					if err != nil {
						return err
					}
					defer c.Close()
					closer := map[fixtures.EventKind]io.Closer{fixtures.Ended: d.IPv6, fixtures.PeerFIN: c}[tt.closes]
					return errors.Join(d.IPv6.Await(ctx, fixtures.ConnAccepted, 1), closer.Close(), d.IPv6.Await(ctx, tt.closes, 1))
				})
			})
			require.ErrorContains(t, err, tt.want)
		}
	})
}

// What the fixture ended, since its script failed, is not explained by what RST is.
func TestReportOfAFailedScript(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Scripted{Steps: script.Script{script.Match("GET\n"), script.Send("OK\n")}}, sockettest.On(nw))
			sockettest.Expect(tb, ep, sockettest.Accepted, func(ctx context.Context) error {
				c, err := ep.DialContext(ctx, "tcp", ep.Addr())
				if err != nil {
					return err
				}
				defer c.Close()
				_, _ = c.Write([]byte("PUT\n"))
				_, err = c.Read(make([]byte, 8))
				return err
			})
		})
		assert.Contains(t, tb.Text(), "rule     it was the fixture that ended the connection")
	})
}
