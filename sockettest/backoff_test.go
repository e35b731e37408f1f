package sockettest_test

import (
	"context"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

const s = time.Second

// retry dials at once, and again after each pause, and returns the last error.
func retry(dial func(ctx context.Context, nw, addr string) (net.Conn, error), addr string, pauses ...time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		for i := 0; ; i++ {
			began := time.Now()
			c, err := dial(ctx, "tcp", addr)
			if err == nil {
				return c.Close()
			}
			if i == len(pauses) {
				return err
			}
			time.Sleep(time.Until(began.Add(pauses[i]))) // rules:allow it is what is under test
		}
	}
}

// Backoffs that the pauses have, and what is wrong with those that they have not.
func TestRetryingJudgesPauses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pauses []time.Duration
		want   sockettest.Backoff
		err    string
	}{
		{[]time.Duration{s, 2 * s, 4 * s, 5 * s, 5 * s}, sockettest.Backoff{First: s, Grows: 2, Cap: 5 * s}, ""},
		{[]time.Duration{s, 2 * s, 4 * s, 5 * s, 5 * s}, sockettest.Backoff{Grows: 2, Cap: 5 * s}, ""},
		{[]time.Duration{s, 2 * s, 4 * s}, sockettest.Backoff{Attempts: 4, Cap: 4 * s}, ""},
		{[]time.Duration{s, 2 * s, 4 * s, 8 * s}, sockettest.Backoff{First: s, Grows: 2, Cap: 5 * s}, "pause 4 was 8s, want 5s"},
		{[]time.Duration{s, 2 * s, 4 * s, 8 * s}, sockettest.Backoff{Cap: 5 * s}, "pause 4 was 8s, want 0s to 5s"},
		{[]time.Duration{s, s, s}, sockettest.Backoff{First: s, Grows: 1}, ""},
		{[]time.Duration{s, s, s}, sockettest.Backoff{Grows: 2}, "pause 2 was 1s, want 2s"},
		{[]time.Duration{s, s, s}, sockettest.Backoff{First: 2 * s}, "pause 1 was 1s, want 2s"},
		{[]time.Duration{s, 3 * s, 4 * s}, sockettest.Backoff{First: s, Grows: 2}, "pause 2 was 3s, want 2s"},
		{[]time.Duration{1100 * time.Millisecond, 1700 * time.Millisecond, 4 * s}, sockettest.Backoff{First: s, Grows: 2, Jitter: 0.2}, ""},
		{[]time.Duration{1100 * time.Millisecond, 1700 * time.Millisecond, 4 * s}, sockettest.Backoff{Grows: 2, Jitter: 0.2}, ""},
		{[]time.Duration{s, 0, 7 * s}, sockettest.Backoff{First: s, Grows: 2, Jitter: 1}, ""},
		{[]time.Duration{s, 0, 9 * s}, sockettest.Backoff{First: s, Grows: 2, Jitter: 1}, "pause 3 was 9s, want 0s to 8s"},
		{[]time.Duration{1300 * time.Millisecond, 2 * s}, sockettest.Backoff{First: s, Grows: 2, Jitter: 0.2}, "pause 1 was 1.3s, want 800ms to 1.2s"},
		{[]time.Duration{s, 2 * s, 4 * s}, sockettest.Backoff{First: s, Grows: 2, Jitter: 0.2}, "no jitter: each of 3 pauses is the same part"},
		{[]time.Duration{s, 2 * s, 2 * s}, sockettest.Backoff{Grows: 2, Cap: 2 * s, Jitter: 0.2}, "no jitter"},
		{[]time.Duration{s, s}, sockettest.Backoff{Attempts: 4}, "3 attempts, want 4"},
		{nil, sockettest.Backoff{Grows: 2}, "1 attempt, want 3 or more"},
		{[]time.Duration{0, 0, 0}, sockettest.Backoff{Crowd: 3}, "4 attempts within 0s, want at most 3 in a second"},
		{[]time.Duration{0, 0, s}, sockettest.Backoff{Crowd: 3}, ""},
		{[]time.Duration{0, 999 * time.Millisecond}, sockettest.Backoff{Crowd: 1}, "2 attempts within 0s"},
	} {
		for _, f := range []fixtures.Fixture{fixtures.Refused{}, fixtures.BoundOnly{}} {
			sockettest.Bubble(t, func(t *testing.T) {
				tb := faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, f, sockettest.On(simnet.New(tb)))
					sockettest.Expect(tb, ep, sockettest.Rejected.Retrying(tt.want), retry(ep.DialContext, ep.Addr(), tt.pauses...))
				})
				assert.Equal(t, tt.err != "", tb.Failed(), "%v %+v %s", tt.pauses, tt.want, tb.Text())
				if tt.err != "" {
					assert.Contains(t, tb.Text(), "retries: "+tt.err)
				}
			})
		}
	}
}

func TestRetryingReport(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Refused{}, sockettest.On(simnet.New(tb)))
			want := sockettest.Rejected.Retrying(sockettest.Backoff{Attempts: 3, First: s, Grows: 2, Cap: time.Minute, Jitter: 0.2, Crowd: 9})
			sockettest.Expect(tb, ep, want, retry(ep.DialContext, ep.Addr(), s, s))
		})
		assert.Contains(t, tb.Text(), "retries: pause 2 was 1s, want 1.6s to 2.4s\n")
		assert.Contains(t, tb.Text(), "want     rejected, with 3 attempts, a first pause of 1s, pauses that grow by a factor of 2, pauses up to 1m0s, jitter of 20%, at most 9 in a second\n")
		assert.Contains(t, tb.Text(), "attempts 3, at 0s, 1s, 2s (fake clock)\n")
	})
}

// A hundred clients with jitter do not come back in one second; those without do.
func TestRetryingOfAHerd(t *testing.T) {
	t.Parallel()
	for _, jitter := range []bool{false, true} {
		sockettest.Bubble(t, func(t *testing.T) {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				nw := simnet.New(tb)
				ep := sockettest.Start(tb, fixtures.Echo{}, sockettest.On(nw))
				sockettest.Expect(tb, ep, sockettest.Accepted.Retrying(sockettest.Backoff{Crowd: 20}), func() error {
					var herd sync.WaitGroup
					for i := range 100 {
						herd.Go(func() {
							if jitter {
								time.Sleep(time.Duration(i) * 100 * time.Millisecond) // rules:allow it is what is under test
							}
							assert.NoError(t, retry(nw.DialContext, ep.Addr())(t.Context()))
						})
					}
					herd.Wait()
					return nil
				})
			})
			assert.Equal(t, !jitter, tb.Failed(), tb.Text())
		})
	}
}

// Each host's pauses are judged by themselves; a client that never stops, over a time.
func TestRetryingOfClientsOnTheirHosts(t *testing.T) {
	t.Parallel()
	for _, second := range []time.Duration{s, 2 * s} {
		sockettest.Bubble(t, func(t *testing.T) {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				nw := simnet.New(tb)
				ep := sockettest.Start(tb, fixtures.BlackHole{}, sockettest.On(nw.Host("db")))
				want := sockettest.Blocked.For(time.Minute).Retrying(sockettest.Backoff{First: s, Grows: 1})
				sockettest.Expect(tb, ep, want, func(ctx context.Context) error {
					var both sync.WaitGroup
					for i, pause := range []time.Duration{s, second} {
						both.Go(func() {
							for ctx.Err() == nil {
								short, cancel := context.WithTimeout(ctx, pause)
								_, _ = nw.Host([]string{"a", "b"}[i]).DialContext(short, "tcp", ep.Addr())
								<-short.Done()
								cancel()
							}
						})
					}
					both.Wait()
					return ctx.Err()
				})
			})
			assert.Equal(t, second != s, tb.Failed(), tb.Text())
			if second != s {
				assert.Contains(t, tb.Text(), ": pause 1 was 2s, want 1s")
			}
		})
	}
}

// On the kernel attempts are counted where that is honest.
func TestRetryingOnTheKernel(t *testing.T) {
	t.Parallel()
	const pause = 20 * time.Millisecond
	for _, f := range []fixtures.Fixture{fixtures.Reset{OnAccept: true}, fixtures.BlackHole{}} {
		ep := sockettest.Start(t, f)
		if _, err := ep.Attempts(); err != nil {
			continue // not shown here
		}
		want := sockettest.ErrorIs(context.Canceled).Retrying(sockettest.Backoff{Attempts: 4, First: pause, Grows: 2})
		sockettest.Expect(t, ep, want, func(ctx context.Context) error {
			for i := range 4 {
				each, cancel := context.WithCancel(ctx)
				done := make(chan struct{})
				go func() {
					defer close(done)
					if c, err := ep.DialContext(each, "", ""); err == nil {
						_, _ = c.Read(make([]byte, 1))
						_ = c.Close()
					}
				}()
				for all, _ := ep.Attempts(); len(all) <= i; all, _ = ep.Attempts() { // on a busy machine its SYN takes a while
					runtime.Gosched()
				}
				cancel()
				<-done
				time.Sleep(pause << i) // rules:allow it is what is under test
			}
			return context.Canceled
		})
	}
	tb := faketb.Run(t, func(tb *faketb.TB) {
		ep := sockettest.Start(tb, fixtures.Refused{})
		sockettest.Expect(tb, ep, sockettest.Rejected.Retrying(sockettest.Backoff{Attempts: 1}), retry(ep.DialContext, ep.Addr()))
	})
	assert.Contains(t, tb.Text(), "bad argument: sockettest.Expect: Refused{}: a connect that the kernel of "+runtime.GOOS+" refuses leaves no trace; want Reset{OnAccept: true}")
}

// Bad input: field, value, remedy.
func TestRetryingBadInput(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]sockettest.Backoff{
		"Backoff{} judges nothing; want Attempts":                                           {},
		"Backoff.Attempts is -1; want 0 (not judged) or more":                               {Attempts: -1},
		"Backoff.First is -1s; want 0 (not judged) or more":                                 {First: -s},
		"Backoff.Grows is 0.5; want 0 (not judged), or 1 or more":                           {Grows: 0.5},
		"Backoff.Grows is NaN; want":                                                        {Grows: math.NaN()},
		"Backoff.Grows is +Inf; want":                                                       {Grows: math.Inf(1)},
		"Backoff.Cap is -1s; want 0 (not judged) or more":                                   {Cap: -s},
		"Backoff.Cap is 1s, and Backoff.First is 2s; want no less than that":                {First: 2 * s, Cap: s},
		"Backoff.Jitter is 1.1; want 0 (none) to 1":                                         {Jitter: 1.1},
		"Backoff.Jitter is NaN; want 0 (none) to 1":                                         {Jitter: math.NaN()},
		"Backoff.Crowd is -1; want 0 (not judged) or more":                                  {Crowd: -1},
		"Backoff.Attempts is 2, and the pauses wanted show with 3; want 3 or more":          {Attempts: 2, Grows: 2},
		"Unreached with Retrying: what does not reach the fixture is not counted; want one": {Attempts: 3},
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Echo{})
			w := sockettest.Accepted.Retrying(b)
			if b.Attempts == 3 {
				w = w.Unreached()
			}
			sockettest.Expect(tb, ep, w, func() error { panic("it was run") })
		})
		require.True(t, tb.Failed())
		assert.Contains(t, tb.Text(), "bad argument: sockettest.Expect: "+want)
	}
	tb := faketb.Run(t, func(tb *faketb.TB) {
		ep := sockettest.Start(tb, udp.Echo{})
		sockettest.Expect(tb, ep, sockettest.Accepted.Retrying(sockettest.Backoff{Attempts: 1}), func() error { panic("it was run") })
	})
	assert.Contains(t, tb.Text(), "which counts no connects; want the Endpoint or DualEndpoint")
	err := sockettest.Accepted.Retrying(sockettest.Backoff{Attempts: 1}).Check(sockettest.Measure(func() error { return nil }))
	assert.ErrorContains(t, err, "want it with Expect")
}

// What jitter draws from is allowed; no draw is found to be none.
func TestRetryingWithRandomPauses(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(simnet.New(t)))
		for range 20 {
			jitter := rand.Float64()
			var pauses []time.Duration
			for i := range 10 {
				part := 1 + jitter*(2*rand.Float64()-1)
				pauses = append(pauses, time.Duration(min(1e9*math.Pow(1.6, float64(i)), 30e9)*part))
			}
			want := sockettest.Backoff{Attempts: 11, First: s, Grows: 1.6, Cap: 30 * s, Jitter: jitter}
			sockettest.Expect(t, ep, sockettest.Rejected.Before(time.Hour).Retrying(want), retry(ep.DialContext, ep.Addr(), pauses...))
			want.First = 0
			sockettest.Expect(t, ep, sockettest.Rejected.Before(time.Hour).Retrying(want), retry(ep.DialContext, ep.Addr(), pauses...))
		}
	})
}
