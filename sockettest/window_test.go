package sockettest

import (
	"context"
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
)

const (
	longest  = time.Duration(math.MaxInt64)
	tenYears = 87600 * time.Hour
)

// Attempts may be seen late by slack and by what the machine excuses; those of a crowd by the
// latter.
func TestBackoffExcuses(t *testing.T) {
	t.Parallel()
	const part = 100 * time.Millisecond
	at := func(all ...time.Duration) (list []fixtures.Attempt) {
		for _, d := range all {
			list = append(list, fixtures.Attempt{At: d})
		}
		return list
	}
	for _, tt := range []struct {
		want        Backoff
		attempts    []fixtures.Attempt
		slack, late time.Duration
		passes      bool
	}{
		{Backoff{First: time.Second}, at(0, time.Second-2*part), 2 * part, 0, true},
		{Backoff{First: time.Second}, at(0, time.Second+2*part), part, part, true},
		{Backoff{First: time.Second}, at(0, time.Second+2*part), part, 0, false},
		{Backoff{First: time.Second}, at(0, time.Second-2*part), 0, part, false},
		{Backoff{Crowd: 1}, at(0, time.Second-part), 0, part, true},
		{Backoff{Crowd: 1}, at(0, time.Second-part), part, 0, false},
	} {
		assert.Equal(t, tt.passes, tt.want.judge(tt.attempts, tt.slack, tt.late) == nil, "%+v", tt)
	}
}

// A tardy endpoint shows its attempts one look later.
type tardy struct {
	*fixtures.Endpoint
	attempts, next []fixtures.Attempt
}

func (l *tardy) Attempts() ([]fixtures.Attempt, error) {
	now := l.attempts
	l.attempts = l.next
	return now, nil
}

// An attempt that is shown late counts, unless it was made before the operation.
func TestAttemptsThatAreShownLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := Start(t, fixtures.Echo{}, On(simnet.New(t)))
		late := &tardy{Endpoint: ep, next: []fixtures.Attempt{{At: time.Second}, {At: 3 * time.Second}}}
		w := Accepted.Retrying(Backoff{Attempts: 1})
		var err error
		w.tried, err = countable(late)
		require.NoError(t, err)
		late.attempts = nil
		start := ep.Started().Add(2 * time.Second)
		res := Result{Outcome: Accepted, attempts: w.attemptsOf(late, start)}
		assert.Empty(t, res.attempts)
		require.NoError(t, w.judgeRetries(&res, late, start))
		assert.Equal(t, []fixtures.Attempt{{At: time.Second}}, res.attempts)
	})
}

// The longest durations end in a verdict, which does not depend on how long they are.
func TestLongWindowsEndInAVerdict(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    Window
		fails   string // how the headline begins; "" passes
	}{
		{"before", fixtures.Echo{}, Accepted.Before(longest), ""},
		{"before, another outcome", fixtures.Echo{}, Rejected.Before(longest), "call: accepted, want rejected"},
		{"slack", fixtures.Echo{}, Accepted.Before(1).Slack(longest), ""},
		{"slack, too early", fixtures.Echo{}, Accepted.After(time.Hour).Slack(longest), "call: accepted 1h0m0s too early"},
		{"all", fixtures.Echo{}, Accepted.Before(longest).Slack(longest), ""},
		{"early", fixtures.Echo{}, Accepted.After(time.Hour).Early(longest), ""},
		{"after", fixtures.Echo{}, Accepted.After(longest), "call: accepted 2561111h6m40s too early"},
		{"blocked", fixtures.Echo{}, Blocked.For(longest), "call: accepted after"},
		{"ten years", fixtures.Refused{}, TimedOut.After(tenYears).Before(2 * tenYears), "connect: rejected, want timed out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := Start(tb, tt.fixture)
				Expect(tb, ep, tt.want, dialing(ep, 0))
			})
			assert.Equal(t, tt.fails != "", tb.Failed(), tb.Text())
			assert.Contains(t, tb.Text(), tt.fails)
		})
	}
}

// So they do in a bubble, where ten years pass at once.
func TestLongWindowsInABubble(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		want  Window
		takes time.Duration // 0: until it is cancelled
		fails string
	}{
		{"in time", TimedOut.At(tenYears), tenYears, ""},
		{"too early", TimedOut.At(tenYears), time.Hour, "call: timed out 87500h0m0s too early"},
		{"too late", TimedOut.At(tenYears), tenYears + 1, "call: timed out 1ns too late"},
		{"never", TimedOut.At(tenYears), 0, "still blocked, want timed out"},
		{"never, without limit", TimedOut.Before(longest), 0, "still blocked, want timed out"},
		{"any slack", TimedOut.After(1).Slack(longest), tenYears, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tb := faketb.Run(t, func(tb *faketb.TB) {
					ep := Start(tb, fixtures.Silent{}, On(simnet.New(tb)))
					Expect(tb, ep, tt.want, func(ctx context.Context) error {
						c, err := ep.DialContext(ctx, "", "")
						if err != nil {
							return err
						}
						defer c.Close()
						if tt.takes > 0 {
							time.Sleep(tt.takes)
							return context.DeadlineExceeded
						}
						<-ctx.Done()
						return ctx.Err()
					})
				})
				assert.Equal(t, tt.fails != "", tb.Failed(), tb.Text())
				assert.Contains(t, tb.Text(), tt.fails)
			})
		})
	}
}

func TestExpectEndTakesLongWindows(t *testing.T) {
	t.Parallel()
	for _, want := range []Window{Disconnected.Before(longest), Disconnected.Before(1).Slack(longest), Disconnected.After(limit).Before(tenYears)} {
		ExpectEnd(t, Start(t, hostile.ConnectOnly{Target: serving(t, patient(limit))}), want)
	}
}

// What is late by itself fails. In a bubble no machine excuses it.
func TestLateFails(t *testing.T) {
	t.Parallel()
	t.Run("dial", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := Start(tb, fixtures.BlackHole{}, On(simnet.New(tb)))
				Expect(tb, ep, TimedOut.After(limit).Slack(limit), func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, 3*limit)
					defer cancel()
					_, err := ep.DialContext(ctx, "", "")
					return err
				})
			})
			golden(t, steady(tb.Text()))
		})
	})
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			nw := simnet.New(t)
			ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:80")
			require.NoError(t, err)
			defer ln.Close()
			go func() {
				c, err := ln.Accept()
				if err == nil {
					time.Sleep(3 * limit)
					_ = c.Close()
				}
			}()
			tb := faketb.Run(t, func(tb *faketb.TB) {
				a := Start(tb, hostile.ConnectOnly{Target: "127.0.0.1:80"}, On(nw))
				ExpectEnd(tb, a, Disconnected.After(limit).Slack(limit))
			})
			golden(t, steady(tb.Text()))
		})
	})
}

// Early moves the beginning of the window, and nothing else.
func TestEarlyMovesTheBeginning(t *testing.T) {
	t.Parallel()
	want := TimedOut.After(limit).Early(time.Millisecond).Slack(0)
	for elapsed, message := range map[time.Duration]string{
		limit:                        "",
		limit - time.Millisecond:     "",
		limit - time.Millisecond - 1: "call: timed out 1ns too early",
		limit + 1:                    "call: timed out 1ns too late",
	} {
		err := want.Check(ended(context.DeadlineExceeded, elapsed))
		if message == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, message)
	}
	assert.Equal(t, "timed out after 60ms (or up to 1ms earlier)", want.String())
	assert.Equal(t, "timed out between 60ms (or up to 1ms earlier) and 1s", want.Before(time.Second).String())
	for want, message := range map[Window]string{
		TimedOut.After(limit).Early(-1):  "Early(-1ns): want 0 or more",
		TimedOut.Before(limit).Early(1):  `Early(1ns) of "timed out before 60ms"; want it with After, which says what is too early`,
		Blocked.For(limit).Early(1):      "want it with After",
		ErrorIs(errNoServers).Early(1):   "want it with After",
		TimedOut.After(limit).Early(0):   "",
		TimedOut.After(1).Early(longest): "",
	} {
		if err := want.check(); message == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, message)
		}
	}
}

// A matched error at the wrong time is named, and not called unclassified.
func TestMatchedErrIsNamed(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.Refused{})
		Expect(tb, ep, ErrorIs(errNoServers).After(time.Hour), func(ctx context.Context) error {
			_ = dialing(ep, 0)(ctx)
			return errNoServers
		})
	})
	assert.Contains(t, tb.Text(), `call: error "db: no servers" 1h0m0s too early`)
	assert.Contains(t, tb.Text(), `got      error "db: no servers", after`)
	assert.NotContains(t, tb.Text(), "unclassified")
	slow := ended(errNoServers, time.Hour)
	require.EqualError(t, ErrorIs(errNoServers).Before(1).Slack(0).Check(slow), `call: error "db: no servers" 1h0m0s too late`)
	require.EqualError(t, ErrorIs(errNoServers).In("read").Check(slow), `call: error "db: no servers", want it in read`)
}

// What is wanted is written in any order, from an outcome alone to a window.
func TestWants(t *testing.T) {
	t.Parallel()
	const d = time.Second
	for text, want := range map[string]Want{
		"rejected":                                  Rejected,
		"rejected at once":                          Rejected.AtOnce(),
		"timed out in read after 1s":                TimedOut.In("read").After(d),
		"timed out in read before 1s":               TimedOut.Slack(d).In("read").Before(d),
		"timed out after 1s (or up to 1s earlier)":  TimedOut.Early(d).After(d),
		"timed out after 1s (or up to 1ns earlier)": TimedOut.Early(1).After(d),
		"accepted without reaching the fixture":     Accepted.Unreached(),
		"accepted before 1s":                        Accepted.Unfired().Before(d),
		`error "EOF" at once`:                       ErrorIs(io.EOF).AtOnce(),
	} {
		assert.Equal(t, text, want.String())
	}
	for _, want := range []Want{Closed.After(d).Before(0), Closed.Before(0).After(d)} {
		assert.ErrorContains(t, want.Check(Result{}), "Before(0s) lies before After(1s)")
	}
	late := Result{Outcome: Rejected, Elapsed: time.Hour, Classes: []Class{{Outcome: Rejected}}}
	assert.NoError(t, Rejected.Check(late))
	assert.ErrorContains(t, Rejected.AtOnce().Check(late), "too late")
	assert.ErrorContains(t, TimedOut.Check(late), "rejected, want timed out")
}

// What is still blocked at the end is checked for its phase and for how it was let go. What is not
// has no phase to be in.
func TestCheckOfBlocked(t *testing.T) {
	t.Parallel()
	const d = time.Second
	in := func(phase string) Result { return Result{Outcome: Blocked, Phase: phase, Elapsed: d, unblocked: true} }
	kept := in("read")
	kept.unblocked = false
	for _, tt := range []struct {
		r    Result
		text string
	}{
		{in("read"), ""},
		{in(unknownPhase), "its stack does not show whether in read"},
		{in("connect"), "want it in read"},
		{kept, "still blocked after its context was cancelled"},
		{ended(nil, d-1), "want it still blocked"},
		{ended(nil, d), ""},
	} {
		err := Blocked.For(d).In("read").Check(tt.r)
		if tt.text == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, tt.text)
		}
	}
}
