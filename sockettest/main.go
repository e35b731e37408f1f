package sockettest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"

	"go.uber.org/goleak"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
)

// Main runs the tests of a package and then, if they passed, looks for what any of them left
// behind: goroutines, with goleak and its options; and, on Linux, sockets that the process has open
// and had not before. Call it from TestMain:
//
//	func TestMain(m *testing.M) { sockettest.Main(m) }
//
// What is to run before or after the tests goes into the Run method of a type of your own that has
// m in it. A socket that the package keeps open on purpose is best opened before the call of Main.
// What is about to end has 2 s for it.
//
// At the end it prints which fixtures the run skipped, since this platform cannot provide them,
// with the reason and the tests. go test shows that if a test fails, with -v, and for the package
// of the working directory.
//
// In a disarmed run (SOCKETTEST_DISARM=1) it looks for nothing, and prints the fixtures that were
// left as they are and the tests that were not run.
func Main(m goleak.TestingM, options ...goleak.Option) {
	if argument.IsNil(m) {
		fmt.Fprintln(os.Stderr, "sockettest.Main: m is nil; want the *testing.M of TestMain")
		os.Exit(2)
	}
	before, err := socketsNow()
	code := m.Run()
	fmt.Fprint(os.Stderr, skips.text())
	if disarm.On() { // a test that was ended early may have left something behind
		fmt.Fprint(os.Stderr, summary())
		os.Exit(code)
	}
	if code == 0 {
		code = verify(options)
	}
	if code == 0 {
		code = compare(before, err)
	}
	os.Exit(code)
}

// compare turns sockets left open into a failing exit code, where the system lists them.
func compare(before openSockets, err error) int {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "sockettest.Main: the process's sockets could not be listed: %v\n", err)
		return 1
	}
	if l := before.left(settle); !l.Empty() {
		fmt.Fprintf(os.Stderr, "%s\n  They outlive the package's tests; find the test with sockettest.NoLeakedSockets\n", l)
		return 1
	}
	return 0
}

// verify turns goroutines left behind into a failing exit code. goleak waits less than half a
// second, a dialer that hung in a black hole needs a second to learn that it is gone: so it is
// asked again.
func verify(options []goleak.Option) int {
	var err error
	for end := time.Now().Add(settle); ; {
		if err = goleak.Find(options...); err == nil || !time.Now().Before(end) {
			break
		}
	}
	if err == nil {
		return 0
	}
	if p := pprof.Lookup(foreverProfile); p != nil && p.WriteTo(io.Discard, 1) == nil {
		// From now on the runtime writes "(leaked)" behind the state of those that nothing can wake
		// any more.
		if again := goleak.Find(options...); again != nil {
			err = again
		}
	}
	fmt.Fprintf(os.Stderr, "leak: goroutines outlive the package's tests; find the test with sockettest.NoLeaks\n%v\n", err)
	return 1
}
