package sockettest

import (
	"fmt"
	"os"
	"reflect"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests of a package and then, if they passed, looks for goroutines that any of them left behind, with
// goleak and its options. Call it from TestMain:
//
//	func TestMain(m *testing.M) { sockettest.Main(m) }
//
// What is to run before or after the tests goes into the Run method of a type of your own that has m in it.
func Main(m goleak.TestingM, options ...goleak.Option) {
	if v := reflect.ValueOf(m); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		fmt.Fprintln(os.Stderr, "sockettest.Main: m is nil; want the *testing.M of TestMain")
		os.Exit(2)
	}
	os.Exit(verify(m.Run(), options))
}

// verify turns a leak into a failing exit code. goleak waits less than half a second, a dialer that hung in a black hole
// needs a second to learn that it is gone: so it is asked again.
func verify(code int, options []goleak.Option) int {
	if code != 0 {
		return code
	}
	var err error
	for end := time.Now().Add(settle); ; {
		if err = goleak.Find(options...); err == nil || !time.Now().Before(end) {
			break
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "leak: goroutines outlive the package's tests; find the test with sockettest.NoLeaks\n%v\n", err)
		return 1
	}
	return code
}
