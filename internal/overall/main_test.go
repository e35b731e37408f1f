// Package overall_test holds the tests of what spans packages, and those of small packages. They
// mostly wait, and each binary costs its link, so they share a process:
//
//   - bare_test.go: verdicts on a network that has nothing beyond package network's interfaces.
//   - conformance_*.go: simnet against the kernel. See package conformance.
//   - extremes_*.go: all that is exported, with values at the edges of their types.
//   - knobs_*.go: each row of docs/knobs.md, which is written from their table.
//   - truth_*.go: random clients whose verdicts are compared with what really happened.
//
// The other files are named for the package below internal that they test.
package overall_test

import (
	"flag"
	"testing"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/sockettest"
)

var (
	first  = flag.Uint64("first", 0, "the seed of the first random client or program")
	update = flag.Bool("update", false, "write docs/knobs.md and the golden files")
)

func TestMain(m *testing.M) {
	manytests.AllAtOnce()
	sockettest.Main(m)
}
