// Package intercept joins package net to simulated networks, in a program that was built with the
// overlay of "sockettest overlay". Package net then asks here who makes its sockets. Without the
// overlay nobody asks, and nothing here costs anything.
package intercept

import (
	"context"
	"errors"
	"fmt"
	_ "net" // its init comes before ours
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	_ "unsafe" // for go:linkname
)

// Version is that of the agreement between this package and the overlay.
const Version = 2

// hook is package net's variable of that name in a build with the overlay. Without it, it is nobody
// else's, and zero.
//
//go:linkname hook net.sockettestHook
var hook struct {
	Version int
	Go      string             // the version that the overlay was made for
	Bubble  func() any         // a key of the caller's synctest bubble; nil outside
	Stack   func() (stack any) // a Stack; nil leaves the caller to the kernel
}

// A Stack makes sockets and knows names in place of the kernel.
type Stack interface {
	// Socket makes a socket: for network tcp4, tcp6 or tcp (IPv6, and IPv4 too), or udp4, udp6 or
	// udp. One that listens, or a UDP socket that is not connected, has no remote address. control
	// may be nil, and is called before the socket is bound. The overlay says what a socket must be.
	// A nil socket leaves it to the kernel.
	Socket(ctx context.Context, network string, local, remote netip.AddrPort, control func(syscall.RawConn) error) (any, error)

	// LookupNetIP returns the addresses of a name in the order in which they are dialled. It reports
	// false if the kernel's names are in force.
	LookupNetIP(ctx context.Context, name string) (addrs []netip.Addr, known bool, err error)
}

// StackOf returns the Stack of a *simnet.Network. Package simnet sets it.
var StackOf func(network any) Stack

// Remedy is how to get the overlay.
const Remedy = "go test -overlay=$(go run example.com/go-sockettest/cmd/sockettest overlay)"

var errNoOverlay = errors.New("package net is Go's own, and does not ask who makes its sockets; run " + Remedy)

// Ready returns nil if this program was built with the overlay. Otherwise the error says how to do
// that.
func Ready() error {
	version, _, _ := strings.Cut(runtime.Version(), " ") // then come experiments
	switch {
	case hook.Bubble == nil:
		return errNoOverlay
	case hook.Version != Version:
		return fmt.Errorf("the overlay is of another version of sockettest (%d; want %d); run %s", hook.Version, Version, Remedy)
	case hook.Go != version:
		return fmt.Errorf("the overlay was made for %s, and this is %s; run %s", hook.Go, version, Remedy)
	}
	return nil
}

// An owner is what has been installed: in a bubble, or outside if its key is nil.
type owner struct {
	stack Stack
	of    any
}

var (
	mu     sync.Mutex
	owners = map[any]owner{}
	count  atomic.Int64 // of owners
	guard  atomic.Pointer[Stack]
)

func init() {
	if Ready() == nil {
		hook.Stack = func() any {
			if o := current(); o.stack != nil {
				return o.stack
			}
			if g := guard.Load(); g != nil {
				return *g
			}
			return nil
		}
	}
}

// current returns the owner in the caller's bubble, or outside.
func current() owner {
	if count.Load() == 0 {
		return owner{}
	}
	bubble := hook.Bubble()
	mu.Lock()
	defer mu.Unlock()
	return owners[bubble]
}

// Current returns what was installed for the caller's bubble, or outside; nil if nothing was.
func Current() any { return current().of }

// Guard has stack asked wherever no network is in force, until undo is called. Its MaySend, if it
// has one, is asked about each datagram of a UDP socket of the kernel that is not connected.
func Guard(stack Stack) (undo func()) {
	guard.Store(&stack)
	return func() { guard.Store(nil) }
}

// Install has stack make the sockets of package net in the caller's bubble, or outside of any,
// until undo is called. of is what Current returns, and can be installed in one place at a time.
func Install(stack Stack, of any) (undo func(), err error) {
	if err := Ready(); err != nil {
		return nil, err
	}
	bubble := hook.Bubble()
	mu.Lock()
	defer mu.Unlock()
	if _, taken := owners[bubble]; taken {
		return nil, fmt.Errorf("another network is in force %s already; want one at a time", place(bubble))
	}
	for other, o := range owners {
		if o.of == of {
			return nil, fmt.Errorf("this network is in force %s; want one for each bubble", place(other))
		}
	}
	owners[bubble] = owner{stack, of}
	count.Add(1)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		delete(owners, bubble)
		count.Add(-1)
	}, nil
}

func place(bubble any) string {
	if bubble == nil {
		return "outside of bubbles"
	}
	return "in a bubble"
}
