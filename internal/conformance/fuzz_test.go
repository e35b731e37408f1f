package conformance_test

import (
	"testing"

	"example.com/go-sockettest/internal/conformance"
)

// Its corpus are the programs that once told the two apart, or that tell a broken rule of simnet from a whole one.
//
//	go test -fuzz FuzzPrograms ./internal/conformance
func FuzzPrograms(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(conformance.Bytes(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		conformance.Compare(t, conformance.Decode(b), kernel(t), memory())
	})
}
