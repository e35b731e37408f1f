package sockettest

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// hangEnv makes the child process hang.
const hangEnv = "SOCKETTEST_HANG"

// An operation that never returns is reported before go test ends the process, also with the least
// timeout.
func TestHangIsReportedInTime(t *testing.T) {
	manytests.Long(t, "its processes take 3 s and 3.5 s")
	ends := map[string]func() (string, error){}
	for _, timeout := range []string{"3s", "3.5s"} {
		ends[timeout] = manytests.Start(t, hangEnv+"=1", "-test.run=^TestHangChild$", "-test.parallel=3", "-test.timeout="+timeout)
	}
	t.Parallel()
	for timeout, wait := range ends {
		t.Run(timeout, func(t *testing.T) {
			t.Parallel()
			out, err := wait()
			require.Error(t, err)
			assert.NotContains(t, out, "test timed out")
			assert.Contains(t, out, "call: still blocked, want accepted")
			assert.Contains(t, out, "call: still blocked after its context was cancelled and the fixture closed")
			assert.Contains(t, out, "the test's own deadline came before the end of the window")
		})
	}
}

func TestHangChild(t *testing.T) {
	if os.Getenv(hangEnv) == "" {
		t.Skip("it is for TestHangIsReportedInTime")
	}
	hang := func() error { select {} }
	for _, want := range []Window{Accepted.Before(100 * time.Millisecond), Blocked.For(100 * time.Millisecond), Accepted.Before(time.Hour)} {
		t.Run(want.String(), func(t *testing.T) {
			t.Parallel()
			for range 3 {
				Expect(t, Start(t, fixtures.Silent{}), want, hang)
			}
		})
	}
}

// What is waited for past the deadline becomes less and less, so that it is never all of the time
// for the report.
func TestGraceLeavesTimeForTheReport(t *testing.T) {
	t.Parallel()
	assert.Equal(t, time.Hour, grace(time.Hour, time.Time{}))
	assert.Equal(t, time.Second, grace(time.Second, time.Now().Add(time.Hour)))
	assert.InDelta(t, time.Minute, grace(time.Hour, time.Now().Add(time.Minute)), float64(time.Second))
	assert.LessOrEqual(t, grace(time.Hour, time.Now()), reportReserve/4)
	assert.LessOrEqual(t, grace(time.Hour, time.Now().Add(-reportReserve)), time.Duration(0))
}

// On a slow machine the look for contact takes longer, and not the time for the report.
func TestLookForContactEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	looks := 0
	Accepted.window().reachOf(nil, func() fixtures.Contact {
		looks++
		for begin := time.Now(); time.Since(begin) < 5*time.Millisecond; {
		}
		return fixtures.Contact{}
	}, time.Now().Add(signPatience+50*time.Millisecond))
	assert.Less(t, looks, int(signPatience/signTick))
}

// A wait that the test's own deadline cuts short is told from one that saw the end of the window.
func TestReportTellsOfTheDeadline(t *testing.T) {
	t.Parallel()
	blocked := Result{Outcome: Blocked, Elapsed: time.Minute, unblocked: true}
	for want, contains := range map[Window]bool{
		Accepted.Before(time.Hour):                               true,
		Accepted.Before(59 * time.Second).Slack(2 * time.Second): true,
		Accepted.Before(1):                                       false,
		Blocked.For(time.Minute):                                 false,
		ErrorIs(errNoServers):                                    false,
	} {
		slack, _ := want.allowed()
		text := failure{want: want, slack: slack, result: blocked}.String()
		assert.Equal(t, contains, strings.Contains(text, "the test's own deadline came"), text)
	}
}

// A spinning fixture keeps a processor busy with each connection until it is told to stop.
type spinning struct{ begun, stop *atomic.Bool }

func (f spinning) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{State: network.State{Answer: network.Listen}, Rule: "it spins", Serve: func(context.Context, *fixtures.Conn) error {
		for f.begun.Store(true); !f.stop.Load(); {
		}
		return nil
	}}, nil
}

// The limit of a look has passed, and a fixture is on its way: a sign of it may still come.
func TestHopeLastsWhileAFixtureRuns(t *testing.T) {
	t.Parallel()
	f := spinning{new(atomic.Bool), new(atomic.Bool)}
	defer f.stop.Store(true)
	ep := Start(t, f)
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	defer c.Close()
	for !f.begun.Load() {
		<-time.NewTimer(signTick).C
	}
	for h, n := hopeFor(0, true), 0; n < 3*int(quietPatience/signTick); n++ {
		assert.True(t, h.lasts())
	}
	assert.False(t, hopeFor(0, false).lasts(), "a simulated network shows all at once")
	f.stop.Store(true)
	for h := hopeFor(0, true); h.lasts(); {
		assert.LessOrEqual(t, h.looks, mostLooks)
	}
}
