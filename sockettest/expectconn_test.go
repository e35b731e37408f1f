package sockettest_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// How a client ends its connection, and when, counted from the return of its operation.
func TestExpectConnEnd(t *testing.T) {
	t.Parallel()
	fin := func(c net.Conn) { _ = c.Close() }
	rst := func(c net.Conn) { _ = c.(*simnet.Conn).SetLinger(0); _ = c.Close() }
	for _, tt := range []struct {
		end   func(net.Conn)
		after time.Duration
		want  sockettest.Want
		err   string
	}{
		{fin, 0, sockettest.Closed.Before(100 * time.Millisecond), ""},
		{fin, s, sockettest.Closed.At(s), ""},
		{fin, s, sockettest.Closed, ""},
		{rst, s, sockettest.ResetByPeer.At(s), ""},
		{rst, s, sockettest.Disconnected.After(s), ""},
		{fin, time.Hour, sockettest.Blocked.For(time.Minute), ""},
		{rst, 0, sockettest.Closed, "connection #2: reset, want closed"},
		{fin, s, sockettest.Closed.Before(100 * time.Millisecond), "connection #2: closed 900ms too late"},
		{fin, 0, sockettest.Closed.After(s), "connection #2: closed 1s too early"},
		{fin, time.Hour, sockettest.Closed.Before(s), "connection #2: still open, want closed"},
		{fin, s, sockettest.Blocked.For(time.Minute), "connection #2: closed after 1s, want it still open after 1m0s"},
	} {
		for _, f := range []fixtures.Fixture{fixtures.Silent{}, fixtures.Silent{Unread: true}, fixtures.Echo{}, fixtures.NeverRead{}} {
			synctest.Test(t, func(t *testing.T) {
				tb := faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, f, sockettest.On(simnet.New(tb)))
					other, err := ep.DialContext(t.Context(), "", "")
					require.NoError(t, err)
					time.AfterFunc(24*time.Hour, func() { _ = other.Close() })
					time.Sleep(time.Minute)
					var c net.Conn
					sockettest.Expect(tb, ep, sockettest.Accepted, func() (err error) {
						c, err = ep.DialContext(t.Context(), "", "")
						time.Sleep(s)
						return err
					})
					done := make(chan struct{})
					time.AfterFunc(tt.after, func() { tt.end(c); close(done) })
					defer func() { <-done }()
					if got := sockettest.ExpectConnEnd(tb, ep, 2, tt.want); tt.err == "" {
						assert.NoError(t, tt.want.Check(got))
					}
				})
				assert.Equal(t, tt.err != "", tb.Failed(), "%v %v %s", f, tt.want, tb.Text())
				assert.Contains(t, tb.Text(), tt.err)
				assert.NotContains(t, tb.Text(), "#1")
			})
		}
	}
}

func TestExpectConnEndOnTheKernel(t *testing.T) {
	t.Parallel()
	for _, f := range []fixtures.Fixture{fixtures.Silent{}, fixtures.Silent{Unread: true}} {
		ep := sockettest.Start(t, f)
		sockettest.Expect(t, ep, sockettest.TimedOut.After(10*time.Millisecond), func() error {
			c, err := net.Dial("tcp", ep.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err = c.Read(make([]byte, 1))
			return err
		})
		sockettest.ExpectConnEnd(t, ep, 1, sockettest.Closed.Before(100*time.Millisecond))
	}
}

// Without its fault a fixture may well end a connection in another way.
func TestDisarmedConnEnd(t *testing.T) {
	if !disarmed(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(simnet.New(t)))
		c, err := ep.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		defer c.Close()
		r := sockettest.ExpectConnEnd(t, ep, 1, sockettest.Closed.AtOnce())
		assert.Equal(t, sockettest.Blocked, r.Outcome)
	})
}

func TestExpectConnEndReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Silent{}, sockettest.On(simnet.New(tb)))
			c, err := ep.DialContext(t.Context(), "", "")
			require.NoError(t, err)
			require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1)) // its event is before the mark
			time.AfterFunc(s/2, func() { _ = c.Close() })
			sockettest.ExpectConnEnd(tb, ep, 1, sockettest.Closed.AtOnce())
		})
		assert.Equal(t, `connection #1: closed 500ms too late
  want     closed at once
  got      closed, after 500ms
  fixture  Silent{} on 127.0.0.1:32768
       +0.0ms  bound     listening
       +0.0ms  accepted  #1 from the client at 127.0.0.1:32769
       +0.0ms  --        from here the end of connection #1 is wanted --
     +500.0ms  FIN       #1 from the client
     +500.0ms  --        the client has ended it --`, tb.Text())
	})
}

func TestExpectConnEndBadInput(t *testing.T) {
	t.Parallel()
	for want, call := range map[string]func(tb *faketb.TB, ep *fixtures.Endpoint){
		"bad argument: sockettest.ExpectConnEnd: n is 0; want the number of a connection, from 1": func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, ep, 0, sockettest.Closed)
		},
		"n is 2, and Reset{OnAccept: true} on 127.0.0.1:32768 has 1 connection; want one of those": func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, ep, 2, sockettest.Closed)
		},
		"ep was never started; want the Endpoint that Start returned": func(tb *faketb.TB, _ *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, nil, 1, sockettest.Closed)
			sockettest.ExpectConnEnd(tb, &fixtures.Endpoint{}, 1, sockettest.Closed)
		},
		`want is "timed out": the client ends a connection by FIN or RST; want Closed`: func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, ep, 1, sockettest.TimedOut)
		},
		"a connection ends in no phase": func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, ep, 1, sockettest.Closed.In("read"))
		},
		"a connection has one end, and no attempts; want it without Retrying": func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, ep, 1, sockettest.Closed.Retrying(sockettest.Backoff{Attempts: 1}))
		},
		"is no error of the code under test": func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, ep, 1, sockettest.ErrorIs(context.Canceled))
		},
		"want is nil": func(tb *faketb.TB, ep *fixtures.Endpoint) { sockettest.ExpectConnEnd(tb, ep, 1, nil) },
		"connection #1: ended by the fixture itself, so that nobody sees what the client does, want closed": func(tb *faketb.TB, ep *fixtures.Endpoint) {
			sockettest.ExpectConnEnd(tb, ep, 1, sockettest.Closed)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, fixtures.Reset{OnAccept: true}, sockettest.On(simnet.New(tb)))
				c, err := ep.DialContext(t.Context(), "", "")
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, ep.Await(t.Context(), fixtures.Ended, 1))
				call(tb, ep)
			})
			assert.True(t, tb.Failed())
			assert.Contains(t, tb.Text(), want)
		})
	}
}
