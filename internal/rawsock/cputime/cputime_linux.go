// Package cputime tells what processor time the process has used.
package cputime

import (
	"time"

	"golang.org/x/sys/unix"
)

// Used returns what the process's threads have used so far; 0 where that is not shown.
func Used() time.Duration {
	var used unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used) // else it is 0
	return time.Duration(used.Nano())
}
