package sockettest

import (
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
)

// In a bubble the grace is virtual, and over before anything outside has had a turn.
func TestFindInABubbleOfAWatchOutside(t *testing.T) {
	t.Parallel()
	needSockets(t)
	for name, begin := range map[string]func() (*Watch, error){
		"leaks":   func() (*Watch, error) { return WatchLeaks(), nil },
		"sockets": WatchSockets,
	} {
		t.Run(name, func(t *testing.T) {
			w, err := begin()
			require.NoError(t, err)
			defer w.Close()
			synctest.Test(t, func(t *testing.T) {
				assert.Equal(t, "leak: not all could be seen\n  unseen     Find was called in a bubble (testing/synctest) in which the"+
					" watch did not begin: what is outside has no time to end there; want Find called after the bubble, or the watch"+
					" begun in it", w.Find(settle).String())
			})
			if name == "leaks" {
				assert.Empty(t, w.Find(settle).String())
			}
		})
	}
}

// The gate before the finalizers is outside, and must get no timer of a bubble.
func TestCloseInABubbleOfAWatchOutside(t *testing.T) {
	t.Parallel()
	g := gate{holders: 3, opens: make(chan struct{}), since: time.Now()}
	synctest.Test(t, func(*testing.T) { g.release() })
	g.release()
	synctest.Test(t, func(*testing.T) { g.release() })
	assert.Nil(t, g.opens)
}

// The gate closes by a collection of its own: it does not wait until one is due.
func TestGateClosesAtOnce(t *testing.T) {
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	var g gate
	g.hold()
	debug.ReadGCStats(&after)
	assert.Greater(t, after.NumGC, before.NumGC)
	g.holders--
	g.open()
}

// What a bubble leaves behind is found after it.
func TestFindOutsideOfAWatchInABubble(t *testing.T) {
	t.Parallel()
	var found [2]Leaks
	t.Run("real", func(t *testing.T) { // a bubble needs a T
		faketb.Run(t, func(*faketb.TB) {
			for i, grace := range []time.Duration{moment, time.Minute} {
				var w *Watch
				synctest.Test(t, func(t *testing.T) {
					w = WatchLeaks()
					c := acceptedBy(t, Start(t, fixtures.Echo{}, On(simnet.New(quiet{t}))))
					if i == 1 {
						assert.NoError(t, c.Close())
					}
				})
				begun := time.Now()
				found[i] = w.Find(grace)
				assert.Less(t, time.Since(begun), time.Minute, "it does not wait if nothing is left")
				w.Close()
			}
		})
	})
	assert.Len(t, found[0].Conns, 1)
	assert.Empty(t, found[1].String())
}
