package mongo

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// on starts a fixture on a simulated network.
func on(t *testing.T, f fixtures.Fixture) exam.Place {
	t.Helper()
	return exam.Place{Endpoint: sockettest.Start(t, f, sockettest.On(simnet.New(t))), Virtual: true, Limit: 30 * time.Second}
}

// FINDINGS.md, mongo 1: a Disconnect that comes as the monitor begins a dial is not heard by it: it waits for the dial's end, 30 s by
// default, whatever its context says. Which of the two is first, when both begin at one instant, is the scheduler's choice, so
// many tries are made: each takes no time at all, or all of it.
func TestDisconnectMayWaitForADial(t *testing.T) {
	t.Parallel()
	const tries, connectTimeout = 60, 30 * time.Second // the default
	took := map[time.Duration]int{}
	for range tries {
		sockettest.Bubble(t, func(t *testing.T) {
			sockettest.NoLeaks(t)
			p := on(t, fixtures.BlackHole{})
			c, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + p.Addr() + "/?directConnection=true").SetDialer(dialer{p}))
			require.NoError(t, err)
			time.Sleep(2 * connectTimeout) // rules:allow virtual time; now the third dial begins
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			require.NoError(t, c.Disconnect(ctx))
			took[time.Since(begin)]++
		})
	}
	assert.Equal(t, tries, took[0]+took[connectTimeout], "%v", took)
	assert.Positive(t, took[connectTimeout], "%v", took)
}

// FINDINGS.md, mongo 2: a connection whose query has timed out is read on for 400 ms in the background, and then closed.
func TestAbandonedQueryIsReadOnFor400ms(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, silent)
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(p.Limit), pingWithin(none)(t, p))
		time.Sleep(time.Minute) // rules:allow virtual time
		second := p.Conns()[1]
		end, at := second.PeerEnd()
		assert.Equal(t, fixtures.FIN, end)
		assert.Equal(t, 400*time.Millisecond, at-second.Opened()-p.Limit)
	})
}

// One that has not been greeted is bounded by SetConnectTimeout, as the dial is.
func TestConnectTimeoutBoundsTheHandshakeToo(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.Sequence{silent, fixtures.Silent{}}) // the monitor's, the query's
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(p.Limit), ping(connectOnly)(t, p))
	})
}
