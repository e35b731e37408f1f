package costs

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Sizes are three sizes of a growth, each twice the one before.
func Sizes(largest int) [3]int { return [3]int{largest / 4, largest / 2, largest} }

// Growth runs what prepare returns at each size, and reports the processor time for each item, and
// with which power of the size it grows from the smallest to the largest: 1 is linear, 2 is
// quadratic. Run such a benchmark with -benchtime=1x or a few more.
func Growth(b *testing.B, sizes [3]int, prepare func(b *testing.B, n int) (measured func())) {
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
func Processor() (used time.Duration) {
	threads, _ := filepath.Glob("/proc/self/task/*/schedstat") // no bad pattern
	for _, t := range threads {
		var ran time.Duration
		text, _ := os.ReadFile(t) // else it has ended
		_, _ = fmt.Sscan(string(text), &ran)
		used += ran
	}
	if used == 0 {
		used = time.Since(begin)
	}
	return used
}
