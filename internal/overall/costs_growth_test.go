package overall_test

import (
	"slices"
	"testing"
	"time"

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

func TestLinearFindsWhatIsNot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		costs []time.Duration // of the smaller size and the larger, in turn
		want  string
	}{
		{"linear", []time.Duration{10, 40}, ""},
		{"one slow round", []time.Duration{10, 400, 100, 50}, ""},
		{"quadratic", []time.Duration{10, 170, 20, 160, 11, 161, 12, 200, 10, 180}, "100 cost 10ns of processor time, and 400 160ns: as the power 2.00"},
	} {
		rounds := slices.Clone(tt.costs)
		tb := faketb.Run(t, func(tb *faketb.TB) {
			costs.LinearBy(tb, 100, func(int) (cost time.Duration) {
				cost, rounds = rounds[0], append(rounds[1:], rounds[0])
				return cost
			})
		})
		assert.Equal(t, tt.want != "", tb.Failed(), tt.name)
		assert.Contains(t, tb.Text(), tt.want, tt.name)
	}
}
