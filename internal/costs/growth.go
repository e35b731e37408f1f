package costs

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"example.com/go-sockettest/internal/rawsock/cputime"
)

// Linear fails the test if what prepare returns costs more than in proportion to its size, in
// processor time: at four times n eight times as much, where four is linear and sixteen quadratic.
// What else runs on the machine costs no time but that of cold caches, so the least of some rounds
// counts. It measures the process: call it in a test that is not parallel.
func Linear(t testing.TB, n int, prepare func(t testing.TB, n int) (measured func())) {
	t.Helper()
	LinearBy(t, n, func(size int) time.Duration {
		measured := prepare(t, size)
		runtime.GC()
		from := Processor()
		measured()
		return Processor() - from
	})
}

// LinearBy is Linear by another measure.
func LinearBy(t testing.TB, n int, cost func(size int) time.Duration) {
	t.Helper()
	const rounds, most = 50, 1.5 // more than one round is for a machine that was busy
	least := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	var power float64
	for range rounds {
		for i, size := range [2]int{n, 4 * n} {
			least[i] = min(least[i], cost(size))
		}
		if power = Exponent(n, 4*n, float64(least[0]), float64(least[1])); power < most {
			t.Logf("as the power %.2f of the number", power)
			return
		}
	}
	t.Errorf("%d cost %v of processor time, and %d %v: as the power %.2f of the number; want 1", n, least[0], 4*n, least[1], power)
}

// Sizes are three sizes of a growth, each twice the one before.
func Sizes(largest int) [3]int { return [3]int{largest / 4, largest / 2, largest} }

// Growth runs what prepare returns at each size, and reports the processor time for each item, and
// with which power of the size it grows from the smallest to the largest: 1 is linear, 2 is
// quadratic. Run such a benchmark with -benchtime=1x or a few more.
func Growth(b *testing.B, sizes [3]int, prepare func(t testing.TB, n int) (measured func())) {
	b.Helper()
	var took [3]time.Duration
	rounds := 0
	for b.Loop() {
		for i, n := range sizes {
			measured := prepare(b, n)
			from := Processor()
			measured()
			took[i] += Processor() - from
		}
		rounds++
	}
	b.ReportMetric(0, "ns/op")
	for i, n := range sizes {
		b.ReportMetric(float64(took[i].Nanoseconds())/float64(rounds*n), fmt.Sprintf("ns/item@%d", n))
	}
	b.ReportMetric(Exponent(sizes[0], sizes[2], float64(took[0]), float64(took[2])), "exponent")
}

// Exponent returns with which power of its size a cost grows, of which there is one at each of two
// sizes.
func Exponent(small, large int, atSmall, atLarge float64) float64 {
	return math.Log(atLarge/atSmall) / math.Log(float64(large)/float64(small))
}

var begin = time.Now()

// Processor returns what the process's threads have used; where that is not shown, how long the
// process has run.
func Processor() time.Duration {
	if used := cputime.Used(); used > 0 {
		return used
	}
	return time.Since(begin)
}
