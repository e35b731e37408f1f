package scenarios_test

import (
	"context"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"example.com/go-sockettest/calltimeout"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// A world is a stack that scenarios run on, and the time that goes with it: the kernel's loopback, or simnet in a bubble.
type world struct {
	stack   string // in the table
	on      sockettest.Option
	connect func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer's
	listen  func(ctx context.Context, network, address string) (net.Listener, error)
	refusal error // RST to a SYN
	mute    bool  // it gives no answer for a socket that is bound and not listening
}

func kernel() world {
	w := world{stack: "kernel", on: sockettest.On(network.Stack(nil)), listen: (&net.ListenConfig{}).Listen, refusal: syscall.ECONNREFUSED}
	switch runtime.GOOS {
	case "windows":
		w.refusal = syscall.Errno(10061) // WSAECONNREFUSED
	case "darwin", "openbsd", "netbsd":
		w.mute = true
	}
	return w
}

// simulated answers as Linux does, on every platform.
func simulated(t *testing.T) world {
	nw := simnet.New(t)
	return world{stack: "simnet", on: sockettest.On(nw), connect: nw.DialContext, listen: nw.Listen, refusal: syscall.ECONNREFUSED}
}

func (w world) real() bool { return w.stack == "kernel" }

// dialer is the client under test.
func (w world) dialer(timeout time.Duration) calltimeout.Dialer {
	return calltimeout.Dialer{Timeout: timeout, Connect: w.connect}
}

// want chooses: virtual time has no upper bounds that are not exact. A want of After alone is exact there as it is, since its
// slack is 0.
func (w world) want(near, exact sockettest.Want) sockettest.Want {
	if w.real() {
		return near
	}
	return exact
}

// onBoth runs a scenario on both stacks, beside all others.
func onBoth(t *testing.T, name string, f func(t *testing.T, w world)) {
	t.Helper()
	onEach(t, name, (*testing.T).Parallel, f)
}

// inTurn runs a scenario on both stacks, one after the other.
func inTurn(t *testing.T, name string, f func(t *testing.T, w world)) {
	t.Helper()
	onEach(t, name, func(*testing.T) {}, f)
}

func onEach(t *testing.T, name string, begin func(*testing.T), f func(t *testing.T, w world)) {
	t.Helper()
	t.Run(name+"/kernel", func(t *testing.T) {
		begin(t)
		sockettest.NoLeaks(t)
		f(t, kernel())
	})
	t.Run(name+"/simnet", func(t *testing.T) {
		begin(t)
		sockettest.Bubble(t, func(t *testing.T) {
			sockettest.NoLeaks(t)
			f(t, simulated(t))
		})
	})
}
