package sockettest

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
)

// limit is the client's own timeout in these tests.
const limit = 60 * time.Millisecond

// dialing returns an operation that dials ep with a timeout of its own; 0 is none.
func dialing(ep *fixtures.Endpoint, timeout time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", ep.Addr())
		if err == nil {
			_ = c.Close()
		}
		return err
	}
}

func TestExpectPasses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    Window
		timeout time.Duration
	}{
		{"timed out", fixtures.BlackHole{}, TimedOut.After(limit).In("connect"), limit},
		{"rejected", fixtures.Refused{}, Rejected.Before(time.Minute), 0},
		{"accepted", fixtures.Echo{}, Accepted.Before(time.Minute), 0},
		{"blocked", fixtures.BlackHole{}, Blocked.For(limit), 0},
		{"between", fixtures.BlackHole{}, TimedOut.After(limit / 2).Before(2 * limit), limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			NoLeaks(t)
			ep := Start(t, tt.fixture)
			r := Expect(t, ep, tt.want, dialing(ep, tt.timeout))
			assert.Equal(t, tt.want.outcome, r.Outcome)
			assert.GreaterOrEqual(t, r.Elapsed, tt.want.min)
		})
	}
}

func TestExpectFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    Window
		timeout time.Duration
	}{
		{"wrong outcome", fixtures.Refused{}, TimedOut.After(limit), 0},
		{"too early", fixtures.BlackHole{}, TimedOut.After(time.Hour), limit},
		{"no answer", fixtures.BlackHole{}, TimedOut.After(limit).Slack(0), 0},
		{"not blocked", fixtures.Refused{}, Blocked.For(time.Hour), 0},
		{"wrong phase", fixtures.Refused{}, Rejected.Before(limit).In("read"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "no answer" {
				manytests.KernelTimer(t)
				manytests.NeedsMinTTL(t) // the report names it
			}
			manytests.NeedsPlainTCP(t) // package net dials again without it
			NoLeaks(t)
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := Start(tb, tt.fixture)
				Expect(tb, ep, tt.want, dialing(ep, tt.timeout))
			})
			require.True(t, tb.Failed())
			assert.False(t, tb.Died(), "Expect must not be fatal: it may run in any goroutine")
			golden(t, hideCount(steady(tb.Text())))
		})
	}
}

// hideCount: how often a SYN was sent again depends on how long the caller was given, and what is
// told of sockets on the system.
func hideCount(text string) string {
	var keep []string
	for l := range strings.SplitSeq(text, "\n") {
		if !strings.Contains(l, "dropped so far") && !strings.HasPrefix(l, "  sockets ") {
			keep = append(keep, l)
		}
	}
	return strings.Join(keep, "\n")
}

func TestExpectRefusesBadArguments(t *testing.T) {
	t.Parallel()
	never := func() error { panic("it must not run") }
	var none func() error
	var noneContext func(context.Context) error
	for _, tt := range []struct {
		name string
		call func(tb *faketb.TB, ep *fixtures.Endpoint) Result
	}{
		{"negative after", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, TimedOut.After(-1), never) }},
		{"negative before", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, TimedOut.Before(-1), never) }},
		{"negative slack", func(tb *faketb.TB, ep *fixtures.Endpoint) Result {
			return Expect(tb, ep, TimedOut.After(1).Slack(-1), never)
		}},
		{"negative for", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, Blocked.For(-1), never) }},
		{"blocked for nothing", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, Blocked.For(0), never) }},
		{"accepted for", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, Accepted.For(1), never) }},
		{"empty window", func(tb *faketb.TB, ep *fixtures.Endpoint) Result {
			return Expect(tb, ep, Accepted.After(2).Before(1), never)
		}},
		{"unknown phase", func(tb *faketb.TB, ep *fixtures.Endpoint) Result {
			return Expect(tb, ep, Accepted.Before(1).In("lunch"), never)
		}},
		{"zero want", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, Window{}, never) }},
		{"nil error", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, ErrorIs(nil), never) }},
		{"nil operation", func(tb *faketb.TB, ep *fixtures.Endpoint) Result { return Expect(tb, ep, Accepted.Before(1), none) }},
		{"nil operation with context", func(tb *faketb.TB, ep *fixtures.Endpoint) Result {
			return Expect(tb, ep, Accepted.Before(1), noneContext)
		}},
		{"nil endpoint", func(tb *faketb.TB, _ *fixtures.Endpoint) Result { return Expect(tb, nil, Accepted.Before(1), never) }},
		{"window past the deadline", func(tb *faketb.TB, ep *fixtures.Endpoint) Result {
			tb.End = time.Now().Add(time.Minute)
			return Expect(tb, ep, TimedOut.After(time.Hour), never)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var r Result
			tb := faketb.Run(t, func(tb *faketb.TB) { r = tt.call(tb, Start(tb, fixtures.Refused{})) })
			require.True(t, tb.Failed())
			require.Error(t, r.Err)
			assert.Equal(t, Other, r.Outcome)
			golden(t, steady(tb.Text()))
		})
	}
}

func TestNilTBIsAnErrorAndNoPanic(t *testing.T) {
	t.Parallel()
	for _, tb := range []testing.TB{nil, (*testing.T)(nil)} {
		ep := Start(tb, fixtures.Echo{})
		_, err := ep.DialContext(t.Context(), "", "")
		require.ErrorIs(t, err, net.ErrClosed)
		r := Expect(tb, ep, Accepted.Before(1), func() error { panic("it must not run") })
		require.ErrorContains(t, r.Err, "sockettest.Expect: t is nil; want the test's own *testing.T")
		NoLeaks(tb)
	}
}

func TestSlackOfTheWholeRun(t *testing.T) {
	t.Setenv(slackEnv, "17ms")
	d, err := TimedOut.After(1).allowed()
	require.NoError(t, err)
	assert.Equal(t, 17*time.Millisecond, d)
	d, err = TimedOut.After(1).Slack(0).allowed()
	require.NoError(t, err)
	assert.Zero(t, d)
	for _, bad := range []string{"soon", "-1s"} {
		t.Setenv(slackEnv, bad)
		require.ErrorContains(t, TimedOut.After(1).check(), `environment variable SOCKETTEST_SLACK is "`+bad+`"; want a duration such as 1s`)
	}
}

// The reference timer: what a stalled machine does to it as well is not held against the operation.
func TestLateIsJudgedAgainstTheReferenceTimer(t *testing.T) {
	t.Parallel()
	want := TimedOut.After(limit).Slack(10 * time.Millisecond)
	timedOut := func(elapsed, late time.Duration) Result {
		r := ended(context.DeadlineExceeded, elapsed)
		r.late = late
		return r
	}
	for _, tt := range []struct {
		name    string
		result  Result
		message string
	}{
		{"in time", timedOut(limit, 0), ""},
		{"within slack", timedOut(limit+10*time.Millisecond, 0), ""},
		{"the machine stalled", timedOut(limit+time.Second, time.Second), ""},
		{"the machine stalled, and more", timedOut(limit+1011*time.Millisecond, time.Second), "call: timed out 1ms too late"},
		{"late on its own", timedOut(limit+11*time.Millisecond, 0), "call: timed out 1ms too late"},
		{"early by a nanosecond", timedOut(limit-1, 0), "call: timed out 1ns too early"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := want.Check(tt.result)
			if tt.message == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.message)
		})
	}
}

func TestExpectReportsGoexitAndPanic(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.Refused{})
		r := Expect(tb, ep, Accepted.Before(limit), func() error { tb.Fatalf("no rows"); return nil })
		assert.ErrorIs(t, r.Err, errExited)
		r = Expect(tb, ep, Accepted.Before(limit), func() error { panic("no columns") })
		assert.ErrorContains(t, r.Err, "the operation panicked: no columns")
		assert.ErrorContains(t, r.Err, "expect_test.go", "its stack")
	})
	assert.Contains(t, tb.Text(), "no rows")
	assert.Contains(t, tb.Text(), "call: called runtime.Goexit, want accepted")
	assert.Contains(t, tb.Text(), "call: panicked, want accepted")
}

// An operation without a context, and without a limit, is let go by closing the fixture.
func TestExpectReleasesWhatHeedsNoContext(t *testing.T) {
	manytests.KernelTimer(t)
	t.Parallel()
	NoLeaks(t)
	own := Address(net.JoinHostPort(manytests.OwnLoopback().String(), "0")) // the next SYN meets nobody else's black hole
	for _, f := range []fixtures.Fixture{fixtures.BlackHole{}, fixtures.Silent{}} {
		ep := Start(t, f, own)
		Expect(t, ep, Blocked.For(limit), func() error {
			c, err := net.Dial("tcp", ep.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = io.ReadAll(c)
			return err
		})
	}
}

func TestExpectTellsWhatCannotBeReleased(t *testing.T) {
	manytests.Long(t, "it waits for 2 s for what does not return")
	t.Parallel()
	stuck := make(chan struct{})
	defer close(stuck)
	var text string
	tb := faketb.Run(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.Refused{})
		Expect(tb, ep, Blocked.For(time.Millisecond), func() error { <-stuck; return nil })
	})
	text = tb.Text()
	assert.Contains(t, text, "call: still blocked after its context was cancelled and the fixture closed")
	assert.Contains(t, text, "its goroutine is left behind")
}

func TestExpectFromManyGoroutines(t *testing.T) {
	t.Parallel()
	manytests.NeedsQueue(t)
	NoLeaks(t)
	ep := Start(t, fixtures.Echo{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { Expect(t, ep, Accepted.Before(10*time.Second), dialing(ep, 0)) })
	}
	wg.Wait()
	require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 50))
}

var errNoServers = errors.New("db: no servers")

func TestErrFindsAnErrorOfTheClientsOwn(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.Refused{})
	fail := func() error { return errNoServers }
	Expect(t, ep, ErrorIs(errNoServers), fail)
	Expect(t, ep, ErrorIs(errNoServers).Before(time.Second), fail)
	tb := faketb.Run(t, func(tb *faketb.TB) {
		Expect(tb, ep, ErrorIs(io.EOF), fail)
		Expect(tb, ep, ErrorIs(errNoServers).After(time.Hour).Slack(0), fail)
	})
	assert.Contains(t, tb.Text(), `call: error "db: no servers", want error "EOF"`)
	assert.Contains(t, tb.Text(), "too early")
}

func TestMeasureAndCheckNeedNoTest(t *testing.T) {
	t.Parallel()
	r := Measure(func() error { return errNoServers })
	assert.Equal(t, Other, r.Outcome)
	require.NoError(t, ErrorIs(errNoServers).Check(r))
	require.EqualError(t, Accepted.Before(time.Second).Check(r), `call: error "db: no servers", want accepted`)
	require.NoError(t, Accepted.Before(time.Second).Check(Measure(func(context.Context) error { return nil })))
	require.Error(t, Accepted.After(-1).Check(r))
	var none func() error
	require.ErrorContains(t, Measure(none).Err, "op is nil")
}

// A helperTB notes which functions have called Helper when it is told of an error.
type helperTB struct {
	testing.TB
	helpers map[string]bool
	marked  map[string]bool // as of the error
}

func (h *helperTB) Helper() {
	pc, _, _, _ := runtime.Caller(1)
	name, _, _ := strings.Cut(runtime.FuncForPC(pc).Name(), "[")
	h.helpers[name[strings.LastIndex(name, ".")+1:]] = true
}

func (h *helperTB) Errorf(string, ...any) { h.marked = maps.Clone(h.helpers) }

func TestExpectFailsAtItsCaller(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.Echo{})
	for name, want := range map[string]Want{"verdict": Rejected, "bad argument": Outcome(0)} {
		t.Run(name, func(t *testing.T) {
			h := &helperTB{TB: t, helpers: map[string]bool{}}
			Expect(h, ep, want, func() error { return nil })
			assert.True(t, h.marked["Expect"], "go test would name a line of Expect's own")
		})
	}
}

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
