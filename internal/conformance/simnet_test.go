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

func TestTruthInMemory(t *testing.T) { conformance.Truth(t, memory()) }

func TestListenersInMemory(t *testing.T) { conformance.Listeners(t, memory()) }

// Whatever a program of socket calls observes on the kernel it observes in memory.
func TestPrograms(t *testing.T) {
	truth, fake := kernel(t), memory()
	for seed := range uint64(*programs) {
		conformance.Compare(t, conformance.Decode(conformance.Bytes(seed)), truth, fake)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
