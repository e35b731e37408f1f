package sockettest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/patience"
)

// stressEnv is how many times TestTimesUnderLoad runs under each of the heavy loads, with a limit
// of 2 s. It is not set in the usual run, which loads its own process only, once and for less long:
//
//	SOCKETTEST_STRESS=200 go test ./sockettest -run TestTimesUnderLoad -v
const stressEnv = "SOCKETTEST_STRESS"

// spinEnv makes the child process a busy loop.
const spinEnv = "SOCKETTEST_SPIN"

// Correct clients and servers are in time and late ones late, whatever else the machine does.
func TestTimesUnderLoad(t *testing.T) {
	manytests.Long(t, "it loads the machine")
	runs, limit := 1, 20*time.Millisecond
	if env := os.Getenv(stressEnv); env != "" {
		var err error
		runs, err = strconv.Atoi(env)
		require.NoError(t, err)
		limit = 2 * time.Second
	}
	for _, tt := range []struct {
		name string
		busy func(t *testing.T, n int)
		n    int
	}{
		{"2 goroutines", busyGoroutines, 2},
		{"8 processes", busyProcesses, 8},
		{"17 processes", busyProcesses, 17},
	} {
		if runs == 1 && tt.n > 2 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			tt.busy(t, tt.n)
			var wrong wrongVerdicts
			var wg sync.WaitGroup
			next := time.NewTicker(200 * time.Millisecond) // all at once would be a load of another kind
			defer next.Stop()
			for range runs {
				wg.Go(func() { wrong.run(t, limit) })
				<-next.C
			}
			wg.Wait()
			t.Logf("%d runs: %d false failures, %d missed, and %d and %d where the machine was over %v late; it was up to %v late",
				runs, len(wrong.failures), wrong.missed, wrong.failedStalled, wrong.missedStalled, bearable, wrong.latest)
			assert.Empty(t, wrong.failures, "of correct clients and servers")
			assert.Zero(t, wrong.missed, "verdicts on servers that are 400 ms late")
		})
	}
}

// bearable is how late the machine may be with any one wait for all verdicts to be right: a server
// that is 400 ms late is not excused by three times as much and 100 ms of slack, with a margin for
// what is measured at other moments.
const bearable = 80 * time.Millisecond

// wrongVerdicts counts. What the machine was too late for stands by itself.
type wrongVerdicts struct {
	mu                                   sync.Mutex
	failures                             []string
	missed, failedStalled, missedStalled int
	latest                               time.Duration
}

// run judges two clients that try three times, two correct servers, and one that ends its
// connections 400 ms late.
func (v *wrongVerdicts) run(t *testing.T, limit time.Duration) {
	const late = 400 * time.Millisecond
	var failed, missed []*faketb.TB
	var mu sync.Mutex
	var wg sync.WaitGroup
	judge := func(correct bool, f func(tb *faketb.TB)) {
		wg.Go(func() {
			tb := faketb.Run(t, f)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case correct && tb.Failed():
				failed = append(failed, tb)
			case !correct && !tb.Failed():
				missed = append(missed, tb)
			}
		})
	}
	latest := latestTick(func() {
		for f, wait := range map[fixtures.Fixture]time.Duration{fixtures.BlackHole{}: 20 * time.Millisecond, fixtures.Silent{}: 100 * time.Millisecond} {
			judge(true, func(tb *faketb.TB) {
				ep := Start(tb, f)
				Expect(tb, ep, TimedOut.After(3*wait), func(ctx context.Context) error { return threeTimes(ctx, ep.Addr(), wait) })
			})
		}
		for _, d := range []time.Duration{limit / 10, limit} {
			judge(true, func(tb *faketb.TB) {
				ExpectEnd(tb, Start(tb, hostile.ConnectOnly{Target: serving(tb, patient(d))}), Disconnected.After(d))
			})
		}
		judge(false, func(tb *faketb.TB) {
			a := Start(tb, hostile.ConnectOnly{Target: serving(tb, patient(limit+late))})
			ExpectEnd(tb, a, Disconnected.After(limit).Slack(100*time.Millisecond))
		})
		wg.Wait()
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	v.latest = max(v.latest, latest)
	if latest > bearable {
		v.failedStalled += len(failed)
		v.missedStalled += len(missed)
		return
	}
	v.missed += len(missed)
	for _, tb := range failed {
		v.failures = append(v.failures, tb.Text())
	}
}

// latestTick returns how late a timer of the test's own is at worst while f runs.
func latestTick(f func()) time.Duration {
	over, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		var latest time.Duration
		for {
			begin := time.Now()
			tick := time.NewTimer(time.Millisecond)
			select {
			case <-over:
				worst <- latest
				return
			case <-tick.C:
				patience.QueueUp()
				latest = max(latest, time.Since(begin)-time.Millisecond)
			}
		}
	}()
	f()
	close(over)
	return <-worst
}

// threeTimes is a client that tries again, and waits d each time.
func threeTimes(ctx context.Context, addr string, d time.Duration) error {
	var all []error
	for range 3 {
		begin := time.Now()
		c, err := (&net.Dialer{Timeout: d}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = c.SetReadDeadline(begin.Add(d))
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// busyProcesses keeps the machine busy with n processes until the test ends.
func busyProcesses(t *testing.T, n int) {
	for range n {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSpinChild$")
		cmd.Env = append(os.Environ(), spinEnv+"=1", "GOMAXPROCS=1")
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
}

func TestSpinChild(t *testing.T) {
	if os.Getenv(spinEnv) == "" {
		t.Skip("it is for TestTimesUnderLoad")
	}
	for parent := os.Getppid(); os.Getppid() == parent; { // until it is killed, or an orphan
	}
}

// busyGoroutines keeps the process busy with n goroutines until the test ends.
func busyGoroutines(t *testing.T, n int) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := 0; ; i++ {
				if i%1e6 == 0 {
					select {
					case <-stop:
						return
					default:
					}
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); wg.Wait() })
}
