package sockettest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// read reads from a connection until something comes or, if obeys is set, its context is done.
func read(c net.Conn, obeys bool) func(context.Context) error {
	return func(ctx context.Context) error {
		if obeys {
			defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
		}
		_, err := c.Read(make([]byte, 1))
		if ctx.Err() != nil && obeys {
			return ctx.Err()
		}
		return err
	}
}

// reader is a client that connects and reads.
func reader(ep *fixtures.Endpoint) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := ep.DialContext(ctx, "", "")
		if err != nil {
			return err
		}
		defer c.Close()
		return read(c, true)(ctx)
	}
}

// The operation is let go as wanted, and the result says how it ended then.
func TestLetGo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		by    sockettest.Release
		obeys bool
		then  sockettest.Outcome
		err   string
	}{
		{0, true, sockettest.Canceled, ""},
		{0, false, sockettest.Disconnected, ""},
		{sockettest.ByContext, true, sockettest.Canceled, ""},
		{sockettest.ByContext, false, sockettest.Disconnected, "still blocked, and not let go by its context"},
		{sockettest.ByClose, false, sockettest.Disconnected, ""},
		{sockettest.ByFIN, true, sockettest.Closed, ""},
		{sockettest.ByRST, true, sockettest.ResetByPeer, ""},
	} {
		try := func(t *testing.T, opts ...sockettest.Option) {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, fixtures.Silent{}, opts...)
				c, err := ep.DialContext(t.Context(), "", "")
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
				want := sockettest.Blocked.For(20 * time.Millisecond)
				if tt.by > 0 {
					want = want.LetGo(tt.by)
				}
				r := sockettest.Expect(tb, ep, want, read(c, tt.obeys))
				if assert.NotNil(t, r.Then, tb.Text()) {
					assert.NoError(t, tt.then.Check(*r.Then), "%v", tt)
				}
			})
			assert.Equal(t, tt.err != "", tb.Failed(), tb.Text())
			assert.Contains(t, tb.Text(), tt.err)
		}
		t.Run(fmt.Sprintf("%v, obeys %v", tt.by, tt.obeys), func(t *testing.T) { t.Parallel(); try(t) })
		synctest.Test(t, func(t *testing.T) { try(t, sockettest.On(simnet.New(t))) })
	}
}

// A client that has sent FIN still waits for the fixture's, and one that tidies up gets the time.
func TestLetGoOfClientsThatAreEnding(t *testing.T) {
	t.Parallel()
	for by, then := range map[sockettest.Release]sockettest.Outcome{sockettest.ByFIN: sockettest.Closed, sockettest.ByClose: sockettest.Disconnected} {
		synctest.Test(t, func(t *testing.T) {
			ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(simnet.New(t)))
			r := sockettest.Expect(t, ep, sockettest.Blocked.For(s).LetGo(by), func() error {
				c, err := ep.DialContext(t.Context(), "", "")
				if err != nil {
					return err
				}
				defer c.Close()
				if by == sockettest.ByFIN {
					err = c.(*simnet.Conn).CloseWrite()
				}
				err = errors.Join(err, read(c, false)(t.Context()))
				if by == sockettest.ByClose {
					time.Sleep(s)
				}
				return err
			})
			require.NotNil(t, r.Then, "%v", by)
			assert.NoError(t, then.Check(*r.Then))
		})
	}
}

func TestLetGoReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Silent{}, sockettest.On(simnet.New(tb)))
			sockettest.Expect(tb, ep, sockettest.Blocked.For(s).LetGo(sockettest.ByRST), func(ctx context.Context) error {
				for ctx.Err() == nil { // it hides the error, and tries again
					_ = reader(ep)(ctx)
				}
				return ctx.Err()
			})
		})
		assert.Contains(t, tb.Text(), ": still blocked, and not let go by RST\n  want     still blocked after 1s, and let go by RST\n")
		assert.Contains(t, tb.Text(), "let go   RST was sent on #1, and it did not return for 250ms; then it returned 0s after its context was cancelled\n")
	})
}

func TestLetGoBadInput(t *testing.T) {
	t.Parallel()
	ctx := func(context.Context) error { panic("it was run") }
	none := func() error { panic("it was run") }
	for want, call := range map[string]func(tb *faketb.TB){
		"LetGo(0): want ByContext, ByClose, ByFIN or ByRST": func(tb *faketb.TB) {
			sockettest.Expect(tb, sockettest.Start(tb, fixtures.Silent{}), sockettest.Blocked.For(s).LetGo(0), ctx)
		},
		"LetGo(5): want ByContext": func(tb *faketb.TB) {
			sockettest.Expect(tb, sockettest.Start(tb, fixtures.Silent{}), sockettest.Blocked.For(s).LetGo(5), ctx)
		},
		"timed out.LetGo: only what is Blocked is let go; want Blocked.For(d).LetGo(RST)": func(tb *faketb.TB) {
			sockettest.Expect(tb, sockettest.Start(tb, fixtures.Silent{}), sockettest.TimedOut.After(s).LetGo(sockettest.ByRST), ctx)
		},
		"LetGo(ByContext) of an operation without a context; want a func(context.Context) error": func(tb *faketb.TB) {
			sockettest.Expect(tb, sockettest.Start(tb, fixtures.Silent{}), sockettest.Blocked.For(s).LetGo(sockettest.ByContext), none)
		},
		"which has no connections; want ByContext or ByClose": func(tb *faketb.TB) {
			sockettest.Expect(tb, sockettest.Start(tb, udp.Silent{}), sockettest.Blocked.For(s).LetGo(sockettest.ByFIN), ctx)
		},
		"a connection is not let go; want it without LetGo": func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Silent{})
			c, err := net.Dial("tcp", ep.Addr())
			require.NoError(t, err)
			defer c.Close()
			sockettest.ExpectConnEnd(tb, ep, 1, sockettest.Blocked.For(s).LetGo(sockettest.ByFIN))
		},
	} {
		tb := faketb.Run(t, call)
		assert.True(t, tb.Failed())
		assert.Contains(t, tb.Text(), want)
	}
}

// A dial in a black hole has no connection to end, and is let go all the same.
func TestLetGoOfADial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.BlackHole{}, sockettest.On(simnet.New(tb)))
			sockettest.Expect(tb, ep, sockettest.Blocked.For(s).LetGo(sockettest.ByFIN), reader(ep))
		})
		assert.Contains(t, tb.Text(), "let go   no connection was open on which FIN was sent, and it did not return for 250ms; then it returned")
	})
}
