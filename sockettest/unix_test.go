package sockettest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
)

// What a client of a unix socket meets, by outcome.
func TestUnixOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    Window
	}{
		{"no file", fixtures.NoSocket{}, Rejected.Before(time.Second).In("connect")},
		{"stale file", fixtures.Refused{}, Rejected.Before(time.Second).In("connect")},
		{"no answer", fixtures.Silent{}, TimedOut.After(20 * time.Millisecond).In("read")},
		{"closed", fixtures.Close{OnAccept: true}, Closed.Before(10 * time.Second)},
		{"serves", fixtures.HalfClose{Data: "hello"}, Accepted.Before(10 * time.Second)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			NoLeaks(t)
			ep := Start(t, tt.fixture, Family("unix"))
			Expect(t, ep, tt.want, func(ctx context.Context) error {
				c, err := (&net.Dialer{}).DialContext(ctx, "unix", ep.Addr())
				if err != nil {
					return err
				}
				defer c.Close()
				if tt.want.outcome == TimedOut {
					_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				}
				_, err = c.Read(make([]byte, 1))
				return err
			})
		})
	}
}

func TestFullUnixBacklogIsExhausted(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.FullBacklog{}, Family("unix"))
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	defer c.Close()
	_, err = ep.DialContext(t.Context(), "", "")
	require.Equal(t, []Class{{Exhausted, "connect", ""}}, Classify(err), "%v", err)
}

func TestStartSkipsWhatAUnixSocketHasNot(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) { Start(tb, fixtures.BlackHole{}, Family("unix")) })
	assert.False(t, tb.Failed(), tb.Text())
	assert.Contains(t, tb.Reason(), "BlackHole{}: linux: cannot leave a connect unanswered on a unix socket")
	tb = faketb.Run(t, func(tb *faketb.TB) { Start(tb, fixtures.Reset{}, Family("unix")) })
	assert.False(t, tb.Failed(), tb.Text())
	assert.Contains(t, tb.Reason(), "Reset{}: a unix connection has no RST (unix(7))")
}
