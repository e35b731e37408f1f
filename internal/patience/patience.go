// Package patience waits for goroutines that are to end, up to a limit that a busy machine
// stretches. It imports nothing of the project.
package patience

import (
	"runtime"
	"sync"
	"time"
)

// ticks are the parts in which a limit is waited for.
const ticks = 20

// Wait waits for wg up to limit, and reports whether it is done. It waits in ticks, for each of
// which the scheduler must find time as it must for the goroutines that are waited for, and lets
// all that is ready run: on a machine that stalls both take longer, and nobody is blamed for it.
// Where one of these goroutines waits, it does so for none: see [Inside].
func Wait(wg *sync.WaitGroup, limit time.Duration) bool {
	if Inside() {
		return true
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	tick := time.NewTimer(limit / ticks)
	defer tick.Stop()
	for range ticks {
		select {
		case <-done:
			return true
		case <-tick.C:
			QueueUp()
			tick.Reset(limit / ticks)
		}
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// QueueUp lets all goroutines that could run do so first. A timer's goroutine is run before those
// that have queued for longer: with a thousand of them it could count its ticks before the one that
// it waits for has had a turn. A queue holds 256, and of each 61 turns one goes to those that yield
// (runtime/proc.go), so this is more than one turn for each.
func QueueUp() {
	for range 8 {
		runtime.Gosched()
	}
}
