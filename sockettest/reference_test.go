package sockettest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
)

// What the reference says after so many ticks, the last at that time.
func TestReferenceCountsWhatTheMachineHasLost(t *testing.T) {
	t.Parallel()
	const at, most = 100 * time.Millisecond, 50
	for _, tt := range []struct {
		name    string
		fired   bool
		ticks   int
		last    time.Duration
		elapsed time.Duration
		want    time.Duration
	}{
		{"not past its time", false, 0, 0, at, 0},
		{"it should have fired, and has not", false, 0, 0, at + time.Second, time.Second},
		{"it fired in time", true, 0, at, at + tick, 0},
		{"it fired late", true, 0, at + 30*time.Millisecond, at + 30*time.Millisecond, 30 * time.Millisecond},
		{"every tick in time: the operation is late by itself", true, 40, at + 40*tick, at + 200*time.Millisecond, 0},
		{"each tick took four times as long", true, 10, at + 40*tick, at + 40*tick, 30 * tick},
		{"a tick is overdue", true, 2, at + 2*tick, at + 10*tick, 7 * tick},
		{"it counts no further", true, most, at + most*tick, at + time.Hour, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := reference{at: at, next: at, most: most, timer: time.NewTimer(time.Hour), fired: tt.fired, ticks: tt.ticks, last: tt.last}
			assert.Equal(t, tt.want, r.lost(tt.elapsed))
		})
	}
}

// What is lost before its time counts as well: an operation that waits twice loses it twice.
func TestReferenceCountsWhatIsLostBeforeItsTime(t *testing.T) {
	t.Parallel()
	const at, ms = 100 * time.Millisecond, time.Millisecond
	for _, tt := range []struct {
		name    string
		fires   []time.Duration // when it does
		elapsed time.Duration
		want    time.Duration
	}{
		{"in time", []time.Duration{20 * ms, 40 * ms, 60 * ms, 80 * ms, at}, at + 1, 0},
		{"a little late each time", []time.Duration{20*ms + 1, 40*ms + 2, 60*ms + 3, 80*ms + 4, at}, at + 1, 0},
		{"late once", []time.Duration{70 * ms, 90 * ms, at}, at + 1, 50 * ms},
		{"late twice", []time.Duration{30 * ms, 90 * ms, at}, at + 1, 50 * ms},
		{"late beyond its time", []time.Duration{20 * ms, 130 * ms}, at + 30*ms, 90 * ms},
		{"not fired by now", []time.Duration{20 * ms}, at + 30*ms, 90 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // where it fires when it is told
				r := reference{start: time.Now(), at: at, next: period, most: 50, timer: time.NewTimer(time.Hour)}
				defer r.end()
				for _, f := range tt.fires {
					time.Sleep(f - time.Since(r.start))
					r.fire()
					r.timer.Reset(time.Hour)
				}
				assert.Equal(t, tt.want, r.lost(tt.elapsed))
			})
		})
	}
}

// In virtual time the machine loses nothing, so every delay is the operation's own; and the reference ends.
func TestReferenceInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r reference
		r.begin(time.Now(), time.Minute, defaultSlack)
		time.Sleep(time.Hour)
		assert.Zero(t, r.lost(time.Hour))
		assert.Equal(t, int(defaultSlack/tick)+1, r.ticks)
		r.end()
	})
}

// A herd of correct clients, each of which must wait for its turn once its deadline has passed.
func TestExpectFailsNoneOfAHerd(t *testing.T) {
	t.Parallel()
	NoLeaks(t)
	ep := Start(t, fixtures.BlackHole{})
	var herd sync.WaitGroup
	for range 500 {
		herd.Go(func() { Expect(t, ep, TimedOut.After(limit), dialing(ep, limit)) })
	}
	herd.Wait()
}

// One that is late by itself is found, to the nanosecond where time is exact.
func TestReferenceExcusesNoOperationThatIsLateByItself(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		takes time.Duration
		want  string
	}{
		{limit, ""},
		{limit + defaultSlack, ""},
		{limit + defaultSlack + 1, "call: accepted 1ns too late"},
		{limit + time.Minute, "call: accepted 59.8s too late"},
	} {
		synctest.Test(t, func(t *testing.T) {
			want := Accepted.After(limit).Slack(defaultSlack) // in a bubble there is none otherwise
			r := start(t.Context(), want, func(context.Context) error { time.Sleep(tt.takes); return nil })
			defer r.end()
			err := want.Check(r.result(<-r.done))
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
		})
	}
}
