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

// A herd of correct clients, each of which must wait for its turn once its deadline has passed. It
// is not parallel: beside the herds of other tests it may take longer than the 2 s that a slow
// machine excuses.
func TestExpectFailsNoneOfAHerd(t *testing.T) {
	NoLeaks(t)
	ep := Start(t, fixtures.BlackHole{})
	var herd sync.WaitGroup
	for range 500 {
		herd.Go(func() { Expect(t, ep, TimedOut.After(limit), dialing(ep, limit)) })
	}
	herd.Wait()
}

// With Slack three delays of the machine are excused, without it all up to two seconds, or three
// that are longer.
func TestExcusedDelays(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct{ worst, all, strict, usual time.Duration }{
		{0, 0, 0, 0},
		{50 * ms, 400 * ms, 50 * ms, 400 * ms},
		{300 * ms, time.Minute, 300 * ms, 2 * time.Second},
		{3 * time.Second, time.Minute, 3 * time.Second, 3 * time.Second},
	} {
		assert.Equal(t, tt.strict, TimedOut.After(limit).Slack(defaultSlack).excused(tt.worst, tt.all))
		assert.Equal(t, tt.usual, TimedOut.After(limit).excused(tt.worst, tt.all))
	}
}

// One that is late by itself is found, to the nanosecond where time is exact.
func TestReferenceDoesNotExcuseSlowCode(t *testing.T) {
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
			r := begin(t.Context(), want, func(context.Context) error { time.Sleep(tt.takes); return nil }, false, operator{})
			defer r.end()
			<-r.done
			err := want.Check(r.result())
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
		})
	}
}
