package overall_test

import (
	"testing"

	"example.com/go-sockettest/internal/conformance"
)

// Each entry of its corpus is named for a rule of TCP, and tells a network that breaks it from the
// kernel.
//
//	go test ./internal/overall -fuzz FuzzPrograms
func FuzzPrograms(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(conformance.Bytes(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		conformance.Compare(t, conformance.Decode(b), seen(t), memory())
	})
}
