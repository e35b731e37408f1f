package sockettest

import (
	"runtime"
	"strings"
	"sync"
)

// madeByADial reports whether the child is of package net, which makes some for each dial or lookup
// and ends them with it: that asks nothing of the client. A connect has one if the kernel takes
// time for it, as on a busy machine.
func madeByADial() bool {
	var at [6]uintptr
	n := runtime.Callers(3, at[:])
	dialsAt.Lock()
	defer dialsAt.Unlock()
	is, known := dialsAt.of[at]
	if known {
		return is
	}
	frames := runtime.CallersFrames(at[:n])
	for more := true; more && !is; {
		var f runtime.Frame
		f, more = frames.Next()
		is = strings.HasPrefix(f.Function, "net.")
	}
	if len(dialsAt.of) < keepDialsAt {
		dialsAt.of[at] = is
	}
	return is
}

// dialsAt remembers which callers are of package net: to find their names takes 2 µs.
var dialsAt = struct {
	sync.Mutex
	of map[[6]uintptr]bool
}{of: map[[6]uintptr]bool{}}

// keepDialsAt is how many it remembers.
const keepDialsAt = 1000
