package simnet_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/simnet"
)

// A fault of one link looks at the connections between two hosts, however many there are elsewhere:
// what it allocates grows with what it looks at.
//
// Not parallel: it counts for the whole process.
func TestFaultOfALinkCostsNoMore(t *testing.T) {
	for name, fail := range map[string]func(*simnet.Link) func(){
		"partition": (*simnet.Link).Partition, "hold": (*simnet.Link).Hold,
	} {
		t.Run(name, func(t *testing.T) {
			const few, many = 3, 300
			assert.Less(t, faultBytes(t, many, fail), 2*faultBytes(t, few, fail)+4096, "bytes for the fault of one link among %d, and among %d", many, few)
		})
	}
}

// faultBytes returns how many bytes it takes to let one link fail and recover among n.
func faultBytes(t *testing.T, n int, fail func(*simnet.Link) func()) uint64 {
	t.Helper()
	nw := simnet.New(t)
	srv := nw.Host("srv")
	ln, err := srv.Listen(t.Context(), "tcp", ":80")
	assert.NoError(t, err)
	var link *simnet.Link
	for i := range n {
		h := nw.Host(fmt.Sprintf("h%d", i))
		for range 5 {
			_, err := h.DialContext(t.Context(), "tcp", "srv:80")
			assert.NoError(t, err)
		}
		link = nw.Link(h, srv)
	}
	least := ^uint64(0)
	for range 5 { // what else the process does comes and goes
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fail(link)()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	_ = ln.Close()
	return least
}
