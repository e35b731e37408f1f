// Package costs measures what code costs: its time beside an alternative's, and what it leaves
// behind in the process.
package costs

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

// rounds is how often each runs before it is the other's turn, so that both meet the same machine.
const rounds = 200

// Compare runs a fixture and what a user would write instead in turn, and reports the time of each
// and the ratio of the two: of the sums, and the median of the turns, which a busy machine spoils
// less.
func Compare(b *testing.B, fixture, alternative func(b *testing.B)) {
	b.Helper()
	fixture(b) // what is done once per process
	alternative(b)
	var ours, theirs time.Duration
	n, ratios := 0, []float64(nil)
	for b.Loop() {
		t0 := time.Now()
		for range rounds {
			fixture(b)
		}
		t1 := time.Now()
		for range rounds {
			alternative(b)
		}
		t2 := time.Now()
		ours += t1.Sub(t0)
		theirs += t2.Sub(t1)
		ratios = append(ratios, float64(t1.Sub(t0))/float64(t2.Sub(t1)))
		n += rounds
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(ours.Nanoseconds())/float64(n), "ns/fixture")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(n), "ns/alternative")
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "median-ratio")
}

// NothingLeft notes the process's goroutines and descriptors. The function that it returns fails
// the test if there are others by then. It is for tests that are not parallel.
func NothingLeft(t testing.TB) (check func()) {
	t.Helper()
	goroutines, descriptors := goleak.IgnoreCurrent(), Descriptors(t)
	return func() {
		t.Helper()
		assert.NoError(t, goleak.Find(goroutines), "goroutines")
		assert.Equal(t, descriptors, Descriptors(t), "descriptors")
	}
}

// Descriptors returns how many descriptors the process has open, and skips the test where they are
// not listed.
func Descriptors(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors are not listed here: ", err)
	}
	return len(fds)
}
