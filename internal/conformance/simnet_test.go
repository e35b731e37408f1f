package conformance_test

import (
	"testing"

	"example.com/go-sockettest/internal/conformance"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// memory is the network that is compared with the kernel.
func memory() conformance.World {
	return conformance.World{
		Name:    "simnet",
		New:     func(t *testing.T) network.Stack { return simnet.New(t) },
		Virtual: true,
	}
}

func TestTruthInMemory(t *testing.T) {
	t.Parallel()
	conformance.Truth(t, memory())
}

func TestListenersInMemory(t *testing.T) {
	t.Parallel()
	conformance.Listeners(t, memory())
}

func TestConnsInMemory(t *testing.T) {
	t.Parallel()
	conformance.Conns(t, memory())
}

// realTime is the same network outside a bubble, where its own account of both ends says when it is
// at rest.
func realTime() conformance.World {
	w := memory()
	w.Name, w.Virtual = "simnet in real time", false
	return w
}

func TestTruthInRealTime(t *testing.T) {
	t.Parallel()
	conformance.Truth(t, realTime())
}

func TestListenersInRealTime(t *testing.T) {
	t.Parallel()
	conformance.Listeners(t, realTime())
}

// Whatever a program of socket calls observes on the kernel it observes in memory. Of the tests
// that compare, this one alone is parallel: while they wait for a kernel to come to rest they look
// at it without pause.
func TestPrograms(t *testing.T) {
	t.Parallel()
	compareMany(t, *programs, seen(t), memory())
}

func TestProgramsInRealTime(t *testing.T) { compareMany(t, *programs/4, seen(t), realTime()) }
