package sockettest

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
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
