package toxiproxy_test

import (
	"io"
	"testing"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/sockettest"
)

// BenchmarkForward sends n bytes through a relay and back.
func BenchmarkForward(b *testing.B) {
	server := sockettest.Start(b, fixtures.Echo{})
	for name, n := range map[string]int{"1 B": 1, "64 KiB": 64 << 10} {
		b.Run(name+"/toxiproxy", func(b *testing.B) {
			costs.Compare(b, through(b, forward, server.Addr(), n), through(b, proxied, server.Addr(), n))
		})
	}
}

func through(b *testing.B, r relay, upstream string, n int) func(*testing.B) {
	b.Helper()
	c := dial(b, r.start(b, upstream))
	buf := make([]byte, n)
	return func(b *testing.B) {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}
