// Package beside compares what a fixture costs with what a user would write instead.
package beside

import (
	"testing"
	"time"
)

// rounds is how often each is done before it is the other's turn, so that both meet the same
// machine.
const rounds = 200

// Compare does the one and the other in turn, in one run, and reports what each takes, and the
// ratio of the two.
func Compare(b *testing.B, fixture, alternative func(b *testing.B)) {
	b.Helper()
	fixture(b) // what is done once per process
	alternative(b)
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		t0 := time.Now()
		for range rounds {
			fixture(b)
		}
		t1 := time.Now()
		for range rounds {
			alternative(b)
		}
		ours += t1.Sub(t0)
		theirs += time.Since(t1)
		n += rounds
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(ours.Nanoseconds())/float64(n), "ns/fixture")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(n), "ns/alternative")
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
}
