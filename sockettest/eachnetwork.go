package sockettest

import (
	"testing"

	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// Kernel is the kernel's loopback network, on which fixtures run unless [On] says otherwise. It
// binds and dials loopback addresses only.
var Kernel network.Stack = rawsock.Loopback{}

// EachNetwork runs f as two subtests: "kernel" on [Kernel], and "simnet" on a new simulated
// network, in a [Bubble]. One test then holds on both: real sockets show that the simulation is
// right, and virtual time makes long limits cheap.
//
//	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
//		sockettest.NoLeaks(t)
//		ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
//		c := client{Addr: ep.Addr(), Dial: nw.DialContext, Timeout: 100 * time.Millisecond}
//		sockettest.Expect(t, ep, sockettest.TimedOut.After(c.Timeout), c.Ping)
//	})
//
// The subtests run one after the other. To run tables in parallel, call t.Parallel in the subtest
// that calls EachNetwork: a bubble does not allow it inside. Where the two must differ, compare nw
// with Kernel.
func EachNetwork(t *testing.T, f func(t *testing.T, nw network.Stack)) {
	if t == nil {
		_ = errNilTB("EachNetwork")
		return
	}
	t.Helper()
	if f == nil {
		t.Fatalf("bad argument: sockettest.EachNetwork: f is nil; want the function to run on each network")
	}
	t.Run("kernel", func(t *testing.T) { f(t, Kernel) })
	t.Run("simnet", func(t *testing.T) {
		Bubble(t, func(t *testing.T) { f(t, simnet.New(t)) })
	})
}
