//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package rawsock

import "runtime"

// here knows no way to hold a port, so that Bind says so instead of doing something else in
// silence.
var here = platform{goos: runtime.GOOS, whyNot: "nobody has written how to hold a port on this system"}
