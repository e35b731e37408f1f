package sockettest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
)

// BenchmarkExpect is a dial that is refused, by itself and within Expect.
func BenchmarkExpect(b *testing.B) {
	ep := Start(b, fixtures.Refused{})
	dial := func(ctx context.Context) error {
		c, err := ep.DialContext(ctx, "", "")
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	b.Run("dial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = dial(b.Context())
		}
	})
	b.Run("Expect", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Expect(b, ep, Rejected.Before(time.Second), dial)
		}
	})
}

// BenchmarkStart starts a fixture, reaches it once, and stops it.
func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		tb := faketb.Run(b, func(tb *faketb.TB) {
			ep := Start(tb, fixtures.Echo{})
			Expect(tb, ep, Accepted.Before(time.Minute), func(ctx context.Context) error {
				c, err := ep.DialContext(ctx, "", "")
				if err == nil {
					err = c.Close()
				}
				return err
			})
		})
		if tb.Failed() {
			b.Fatal(tb.Text())
		}
	}
}

// BenchmarkNoLeaks looks at a clean test while 1,000 goroutines of others are alive, beside goleak,
// which would have to be told to ignore them.
func BenchmarkNoLeaks(b *testing.B) {
	quit := make(chan struct{})
	for range 1000 {
		go waitFor(quit)
	}
	defer close(quit)
	b.Run("NoLeaks", func(b *testing.B) {
		for b.Loop() {
			if tb := faketb.Run(b, func(tb *faketb.TB) { NoLeaks(tb) }); tb.Failed() {
				b.Fatal(tb.Text())
			}
		}
	})
	b.Run("goleak", func(b *testing.B) {
		ignore := goleak.IgnoreCurrent()
		for b.Loop() {
			if err := goleak.Find(ignore); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkGrowth is what one look for leaks costs for each connection and goroutine left behind.
//
//	go test -run '^$' -bench Growth -benchtime=1x ./sockettest
func BenchmarkGrowth(b *testing.B) {
	b.Run("connections left behind", func(b *testing.B) { costs.Growth(b, costs.Sizes(4000), connsLeft) })
	b.Run("goroutines left behind", func(b *testing.B) { costs.Growth(b, costs.Sizes(4000), goroutinesLeft) })
}

// Not parallel: it measures the process.
func TestLeakChecksCostInProportion(t *testing.T) {
	t.Run("connections", func(t *testing.T) { costs.Linear(t, 200, connsLeft) })
	t.Run("goroutines", func(t *testing.T) { costs.Linear(t, 500, goroutinesLeft) })
}

// connsLeft leaves n connections open, which the function that it returns finds.
func connsLeft(t testing.TB, n int) func() {
	nw := simnet.New(t)
	w := WatchLeaks()
	ep := Start(t, fixtures.Silent{}, On(nw))
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := ep.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		conns[i] = c
	}
	require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, n))
	return func() {
		assert.Len(t, w.Find(0).Conns, n)
		w.Close()
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// goroutinesLeft leaves n goroutines, which the function that it returns finds.
func goroutinesLeft(t testing.TB, n int) func() {
	w := WatchLeaks()
	quit := make(chan struct{})
	var left sync.WaitGroup
	for range n {
		left.Go(func() { waitFor(quit) })
	}
	return func() {
		assert.Contains(t, w.Find(0).String(), fmt.Sprint(n)+" goroutines")
		w.Close()
		close(quit)
		left.Wait()
	}
}
