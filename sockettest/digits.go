package sockettest

import "time"

// digits writes a duration with three significant digits.
func digits(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 || -d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
