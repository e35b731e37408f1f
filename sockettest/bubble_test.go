package sockettest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBubbleRunsInVirtualTime(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		require.True(t, virtual())
		inside := time.Now()
		time.Sleep(time.Hour)
		assert.Equal(t, time.Hour, time.Since(inside))
	})
	assert.False(t, virtual())
}

// Without the resolver's first use outside, the second lookup would kill the process
// (go.dev/issue/80903).
func TestBubbleLeavesTheResolverUsable(t *testing.T) {
	t.Parallel()
	lookup := func(t *testing.T) { _, _ = net.DefaultResolver.LookupHost(t.Context(), "localhost") }
	Bubble(t, lookup)
	lookup(t)
}

// The watchdog names who waits for what is not of the bubble, whose clock stands still meanwhile.
func TestWatchdogNamesWhoHoldsUpTheBubble(t *testing.T) {
	t.Parallel()
	outside := make(chan struct{}) // closed by the report
	goOn := sync.OnceFunc(func() { close(outside) })
	var reports []string
	w := watchdog{patience: 20 * time.Millisecond, report: func(s string) {
		if strings.Contains(s, "sockettest.waitsOutside") { // a busy machine may hold up others for 20 ms
			reports = append(reports, s)
			goOn()
		}
	}}
	w.guard(func(inside func()) {
		synctest.Test(t, func(t *testing.T) {
			inside()
			begin := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { waitsOutside(outside) })
			wg.Go(func() { time.Sleep(time.Hour) })
			wg.Wait()
			assert.Equal(t, time.Hour, time.Since(begin))
		})
	})
	require.Len(t, reports, 1)
	assert.Contains(t, reports[0], "for 20ms a goroutine has kept the clock from going on")
	assert.Contains(t, reports[0], "[chan receive, synctest bubble ")
}

func waitsOutside(c <-chan struct{}) { <-c }

func TestHoldingUpReadsStacks(t *testing.T) {
	t.Parallel()
	const dump = `goroutine 9 [running, synctest bubble 1]:
a()

goroutine 7 [synctest.Run (durable), synctest bubble 1]:
b()

goroutine 11 [sync.Mutex.Lock, 3 minutes, synctest bubble 1 labels:{"a": "b"}]:
c()

goroutine 12 [IO wait, synctest bubble 2]:
d()

goroutine 13 [IO wait]:
e()

goroutine 14 [sync.Mutex.Lock, synctest bubble 1]:
example.com/go-sockettest/internal/shared.(*Look[...]).Now(0x1, 0x2)
f()`
	assert.Equal(t, []string{"goroutine 11 [sync.Mutex.Lock, synctest bubble 1 labels:{\"a\": \"b\"}]:\nc()"}, holdingUp("1", dump))
	assert.Empty(t, holdingUp("3", dump))
}

// To end the context of a test around the bubble would end the process.
func TestOutsideBubbleTellsTheOuterT(t *testing.T) {
	t.Parallel()
	assert.False(t, outsideBubble(t))
	outer := t
	Bubble(t, func(t *testing.T) {
		assert.False(t, outsideBubble(t))
		assert.True(t, outsideBubble(outer))
		_, err := expectable(outer, nil, Accepted)
		assert.ErrorContains(t, err, "want the t that the bubble's function got")
	})
}
