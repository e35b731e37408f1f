package overall_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/costs"
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
