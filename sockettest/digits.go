package sockettest

import (
	"math"
	"time"
)

// sum adds durations that are 0 or more; what is too long to represent is the longest that is not.
func sum(list ...time.Duration) time.Duration {
	var s time.Duration
	for _, d := range list {
		if s += d; s < 0 {
			return math.MaxInt64
		}
	}
	return s
}

// digits writes a duration with three significant digits.
func digits(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 || -d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
