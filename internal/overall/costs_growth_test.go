package overall_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/internal/faketb"
)

func TestExponentTellsLinearFromQuadratic(t *testing.T) {
	t.Parallel()
	for want, cost := range []func(n float64) float64{
		func(float64) float64 { return 7 },
		func(n float64) float64 { return 3 * n },
		func(n float64) float64 { return n * n / 2 },
	} {
		assert.InDelta(t, float64(want), costs.Exponent(100, 400, cost(100), cost(400)), 1e-9)
	}
	assert.Equal(t, [3]int{100, 200, 400}, costs.Sizes(400))
}

// Not parallel: it measures the process.
func TestLinearFindsWhatIsNot(t *testing.T) {
	var spun atomic.Int64
	spins := func(times func(n int) int) func(testing.TB, int) func() {
		return func(_ testing.TB, n int) func() {
			return func() {
				for range 100_000 * times(n) {
					spun.Add(1)
				}
			}
		}
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { costs.Linear(tb, 1, spins(func(n int) int { return n })) })
	assert.False(t, tb.Failed(), tb.Text())
	tb = faketb.Run(t, func(tb *faketb.TB) { costs.Linear(tb, 1, spins(func(n int) int { return n * n })) })
	assert.Contains(t, tb.Text(), "of processor time, and 4 ")
}
