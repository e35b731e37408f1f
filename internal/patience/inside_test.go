package patience_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/patience"
)

// deep calls f from that many calls below its caller.
//
//go:noinline
func deep(depth int, f func() bool) bool {
	if depth == 0 {
		return f()
	}
	return deep(depth-1, f)
}

func TestInsideAtAnyDepth(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for depth := range 300 {
		assert.False(t, deep(depth, patience.Inside), depth)
		patience.Go(&wg, func() { assert.True(t, deep(depth, patience.Inside), depth) })
	}
	wg.Wait()
}
