package patience

import (
	"runtime"
	"slices"
	"sync"
)

// Go is wg.Go for a function that may end, by a call of its own, what [Wait] is for: see [Inside].
func Go(wg *sync.WaitGroup, f func()) { wg.Go(func() { call(f) }) }

// call is what [Inside] looks for.
//
//go:noinline
func call(f func()) { f() }

// callPC is where f returns to in call, as [runtime.Callers] has it: to compare it takes no names.
var callPC = func() uintptr {
	pc := make([]uintptr, 1)
	call(func() { runtime.Callers(2, pc) })
	return pc[0]
}()

// Inside reports whether the caller runs in a function that [Go] has started: then it would wait
// for itself. It does not know whose it is.
func Inside() bool {
	var pcs [64]uintptr
	for skip := 1; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if slices.Contains(pcs[:n], callPC) {
			return true
		}
		if n < len(pcs) {
			return false
		}
	}
}
