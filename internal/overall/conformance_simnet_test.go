package overall_test

import (
	"testing"

	"example.com/go-sockettest/internal/conformance"
	"example.com/go-sockettest/internal/manytests"
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

// Whatever a program of socket calls observes on the kernel it observes in memory. A sample of them
// must observe the same on the kernel again, or nothing could be compared with it, and in memory in
// real time. The test ends at the first program that differs. Its seed is all that is needed to see
// it again: go test -run TestPrograms ./internal/overall -first SEED -programs 1
func TestPrograms(t *testing.T) {
	t.Parallel()
	truth := seen(t)
	again := truth
	again.Name = "kernel again"
	seed := *first
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed) // also if it was a bubble that failed, which ends the test there
		}
	}()
	n := manytests.Rounds(max(*programs, 1))
	for i := range n {
		seed = *first + uint64(i)
		others := []conformance.World{memory()}
		if i <= n/4 {
			others = append(others, again, realTime())
		}
		conformance.Compare(t, conformance.Decode(conformance.Bytes(seed)), truth, others...)
		if t.Failed() {
			return
		}
	}
}

// The same for programs of UDP sockets. There are a tenth of them: UDP has fewer states.
func TestDatagramPrograms(t *testing.T) {
	t.Parallel()
	truth, other := kernel(t), memory()
	other.Host = truth.Host
	for i := range manytests.Rounds(max(*programs/10, 1)) {
		if conformance.Datagrams(t, *first+uint64(i), truth, other); t.Failed() {
			return
		}
	}
}
