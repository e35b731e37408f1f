// Package manytests runs the parallel tests of a package that mostly waits many at a time.
package manytests

import "flag"

// AtOnce lets 64 parallel tests run at once, where package testing runs as many as there are
// processors: a test that waits for a kernel's timer needs no processor. It respects -parallel, and
// leaves fuzzing alone, where -parallel counts processes. Call it first in TestMain.
func AtOnce() {
	flag.Parse()
	told := flag.Lookup("test.fuzz").Value.String() != ""
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", "64")
	}
}
