package patience

import (
	"reflect"
	"runtime"
	"sync"
)

// Go is wg.Go for a function that may end, by a call of its own, what [Wait] is for: see [Inside].
func Go(wg *sync.WaitGroup, f func()) { wg.Go(func() { call(f) }) }

// call is what [Inside] looks for.
//
//go:noinline
func call(f func()) { f() }

var callName = runtime.FuncForPC(reflect.ValueOf(call).Pointer()).Name()

// Inside reports whether the caller runs in a function that [Go] has started: then it would wait
// for itself. It does not know whose it is.
func Inside() bool {
	pcs := make([]uintptr, 1<<10)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for more := true; more; {
		var f runtime.Frame
		if f, more = frames.Next(); f.Function == callName {
			return true
		}
	}
	return false
}
