package sockettest

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// A rule about limits is for a timeout that comes too late, and for no other end.
func TestRuleOfATimeoutTooLate(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	for _, tt := range []struct {
		err  error
		want Window
		rule bool
	}{
		{sys("connect", syscall.ETIMEDOUT), TimedOut.Before(limit), true},
		{os.ErrDeadlineExceeded, TimedOut.Before(limit), false},
		{refusedError(), Rejected.Before(limit), false},
	} {
		f := failure{headline: "too late", want: tt.want, result: ended(tt.err, time.Minute), tested: "client"}
		assert.Equal(t, tt.rule, strings.Contains(f.String(), ruleKernel), "%v", tt.err)
	}
}

// SYNs of the kernel are no attempts of the client.
func TestReportTellsAttemptsFromSYNs(t *testing.T) {
	t.Parallel()
	hung := Result{Outcome: Blocked, Phase: "connect", Elapsed: 4 * time.Second, unblocked: true}
	hung.sockets = []fixtures.Sockets{{Other: &network.SocketInfo{State: "SYN-SENT", Retransmits: 2}}}
	f := failure{headline: "still blocked", want: TimedOut.Before(time.Second), result: hung, tested: "client",
		events: []fixtures.Event{{At: 1, Kind: fixtures.SYN, Count: 1}, {At: time.Second, Kind: fixtures.SYN, Count: 3}}}
	assert.Contains(t, f.String(), "1 connect without an answer; 2 SYNs sent again by the kernel")
}

// The outermost frame is shown once, also where it is the first that is not about sockets.
func TestBothEndsOfAStack(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"net.a", "net.b", "...", "db.e"}, bothEndsOf([]string{"net.a", "net.b", "io.c", "io.d", "db.e"}))
	assert.Equal(t, []string{"net.a", "...", "db.d", "...", "db.e"}, bothEndsOf([]string{"net.a", "net.b", "io.c", "db.d", "db.e"}))
}

// A client that has connected three times, the last time just now, is trying again and again.
func TestThreeAttemptsAreTrying(t *testing.T) {
	t.Parallel()
	r := Result{Outcome: Blocked, Elapsed: time.Second}
	for i, kind := range []busyKind{waiting, waiting, trying} {
		r.events = append(r.events, fixtures.Event{At: time.Duration(900+i) * time.Millisecond, Kind: fixtures.Denied})
		assert.Equal(t, kind, busyWith(nil, r, 0).kind)
	}
}

// A context's end is shown if the call went on for a tenth of its time or more.
func TestReportShowsTheContextsEnd(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		for more, shown := range map[time.Duration]bool{time.Second: true, time.Second - 2: false} {
			ep := Start(t, fixtures.Silent{}, On(simnet.New(t)))
			err := Try(func(tb testing.TB) {
				Expect(tb, ep, TimedOut.After(9*time.Second), func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, 9*time.Second)
					defer cancel()
					c, err := ep.DialContext(ctx, "", "")
					<-ctx.Done()
					time.Sleep(more) // rules:allow it is in a bubble
					return errors.Join(err, c.Close())
				})
			})
			require.Error(t, err)
			assert.Equal(t, shown, strings.Contains(err.Error(), "a context of the call's is done"), "%v", err)
		}
	})
}
