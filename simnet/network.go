package simnet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/warm"
)

// A TB is what [New] needs of a [testing.TB].
type TB interface {
	Helper()
	Failed() bool
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
}

// mostShown is how many sockets a failed test lists.
const mostShown = 100

// A Network is one machine with its loopback, in memory, and as many other machines as you ask
// [Network.Host] for. Its own methods are those of that one machine: what is bound there can be
// reached from it at any address of 127.0.0.0/8, at ::1 and by the name localhost. Its methods may
// be called from any goroutine.
type Network struct {
	t      TB // nil if there is none
	seed   uint64
	mu     sync.Mutex
	agenda agenda
	here   *Host
	hosts  map[string]*Host
	addrs  map[netip.Addr]*Host

	lastIP4, lastIP6 netip.Addr

	all      path // what the faults of the whole network are
	paths    map[[2]*Host]*path
	into     map[*Host][]*path // the same by where they lead
	faulty   bool              // a path has a fault, or had one
	spares   spares
	dials    map[*dial]struct{} // connects that wait
	ids      uint64             // of sockets
	usedSeed bool               // chance had a part
}

// An Option changes what [New] returns.
type Option func(*Network)

// Seed sets the seed of jitter, loss and reordering, so that a failure that printed its seed
// happens again. The default is the number in the environment variable SOCKETTEST_SEED, or 1.
// Without either, each run of a test draws the same.
func Seed(seed uint64) Option { return func(n *Network) { n.seed = seed } }

// New returns a network with nothing on it. It need not be closed. If the test fails, its sockets
// are logged at the end, as ss(8) would list them, and the seed if it was used. t may be nil.
//
// The first New of a process uses package net's resolver once outside any bubble, because a first
// use inside one is fatal to the next use outside (go.dev/issue/80903). In a bubble that works if
// New comes before the first lookup there.
func New(t TB, options ...Option) *Network {
	warm.Resolver()
	n := &Network{dials: map[*dial]struct{}{}, hosts: map[string]*Host{}, addrs: map[netip.Addr]*Host{}, paths: map[[2]*Host]*path{}, into: map[*Host][]*path{}}
	if argument.IsNil(t) {
		t = nil
	}
	n.t = t
	n.agenda.mu = &n.mu
	n.here = n.newHost(localhost)
	n.hosts[localhost] = n.here
	n.all.n = n
	var err error
	if n.seed, err = seedOf(os.Getenv(seedEnv)); err != nil {
		n.fatal(err)
	}
	for i, o := range options {
		if o == nil {
			n.fatal(fmt.Errorf("simnet.New: option %d of %d is nil; want one such as Seed(1), or none", i+1, len(options)))
			continue
		}
		o(n)
	}
	if t == nil {
		return n
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		t.Helper()
		if left := n.Sockets(); len(left) > 0 {
			if more := len(left) - mostShown; more > 0 {
				left = append(left[:mostShown], fmt.Sprintf("and %d more", more))
			}
			t.Logf("simnet: sockets at the end:\n%s", strings.Join(left, "\n"))
		}
		if n.seedUsed() {
			t.Logf("simnet: the seed was %d; simnet.Seed(%[1]d) or %s=%[1]d draws the same again", n.seed, seedEnv)
		}
	})
	return n
}

// fatal ends the test because what it asked for makes no sense. Without a test it panics.
func (n *Network) fatal(err error) {
	if n.t == nil {
		panic(err)
	}
	n.t.Helper()
	n.t.Fatalf("%v", err)
}

// seedUsed reports whether anything was drawn.
func (n *Network) seedUsed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.usedSeed
}

// wakeAfter has all who wait look again once ctx has ended, unless the function that it returns is
// called before.
func (n *Network) wakeAfter(ctx context.Context, who *sync.Cond) func() bool {
	return context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		who.Broadcast()
	})
}
