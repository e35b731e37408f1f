package conformance

import (
	"net"
	"testing"
	"testing/synctest"

	"example.com/go-sockettest/network"
)

// A World is a stack under test and the time that it lives in.
type World struct {
	Name string

	// New makes the stack for one test; it is called in the test's bubble if the world is Virtual.
	New func(t *testing.T) network.Stack

	// Virtual says that the stack works in virtual time: each test runs in a bubble of its own, and
	// what takes two minutes is tested too. A stack in virtual time is at rest when [synctest.Wait]
	// returns.
	Virtual bool

	// Host is the address that the tests bind; empty is 127.0.0.1. Tests that dial a closed port,
	// or leave TIME-WAIT behind, want a loopback address that is theirs alone, such as 127.93.7.1.
	Host string

	// NoIPv6 says that the stack has none: programs then run on IPv4.
	NoIPv6 bool
}

// run gives f a fresh stack, in a bubble if the world has one.
func (w World) run(t *testing.T, f func(t *testing.T, s network.Stack)) {
	if !w.Virtual {
		f(t, w.New(t))
		return
	}
	synctest.Test(t, func(t *testing.T) { f(t, w.New(t)) })
}

// host is the address to bind, without a port.
func (w World) host() string {
	if w.Host == "" {
		return "127.0.0.1"
	}
	return w.Host
}

// anyPort is the address to bind for any free port.
func (w World) anyPort() string { return net.JoinHostPort(w.host(), "0") }
