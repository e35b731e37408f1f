package overall_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/pace"
)

// However bytes are parted, they have left when as many leave at that rate.
func TestMeterIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		rate, begin := 1+r.IntN(1000), time.Unix(0, 0)
		var m pace.Meter
		total, at := 0, begin
		for range 200 {
			n := r.IntN(100)
			var from time.Time
			from, at = m.Next(begin, n, time.Second, rate)
			assert.Equal(t, pace.Part(time.Second, total, rate), from.Sub(begin))
			total += n
			assert.Equal(t, pace.Part(time.Second, total, rate), at.Sub(begin))
		}
		later := at.Add(time.Second)
		_, at = m.Next(later, rate, time.Second, rate)
		assert.Equal(t, later.Add(time.Second), at, "nothing is saved up")
		_, at = m.Next(later, 1, time.Second, 2)
		assert.Equal(t, later.Add(3*time.Second/2), at, "another rate")
	}
}

func TestPart(t *testing.T) {
	t.Parallel()
	assert.Equal(t, time.Hour, pace.Part(time.Hour, 0, 0))
	assert.Equal(t, 20*time.Minute, pace.Part(time.Hour, 1, 3))
	assert.Equal(t, time.Duration(1<<62), pace.Part(1<<62, 1e6, 1e6))
}
