package simnet_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/simnet"
)

// BenchmarkGrowth is what grows with the number of small writes in the air, and of links that fail.
//
//	go test -run '^$' -bench Growth -benchtime=3x ./simnet
func BenchmarkGrowth(b *testing.B) {
	for _, row := range []struct {
		name    string
		largest int
		prepare func(t testing.TB, n int) func()
	}{
		{"segments in flight", 80_000, writesInFlight},
		{"a partition for each link", 400, partitionEachLink},
		{"a hold for each link", 400, holdEachLink},
	} {
		b.Run(row.name, func(b *testing.B) { costs.Growth(b, costs.Sizes(row.largest), row.prepare) })
	}
}

// Not parallel: it measures the process.
func TestCostsGrowInProportion(t *testing.T) {
	t.Run("segments in flight", func(t *testing.T) { costs.Linear(t, 5000, writesInFlight) })
	t.Run("a partition for each link", func(t *testing.T) { costs.Linear(t, 50, partitionEachLink) })
	t.Run("a hold for each link", func(t *testing.T) { costs.Linear(t, 50, holdEachLink) })
}

func partitionEachLink(t testing.TB, n int) func() { return eachLink(t, n, (*simnet.Link).Partition) }

func holdEachLink(t testing.TB, n int) func() { return eachLink(t, n, (*simnet.Link).Hold) }

// writesInFlight sends n small writes that are all in the air before the first arrives.
func writesInFlight(b testing.TB, n int) func() {
	b.Helper()
	nw := simnet.New(b)
	ln, err := nw.Listen(b.Context(), "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	c, err := nw.Dial("tcp", ln.Addr().String())
	require.NoError(b, err)
	s, err := ln.Accept()
	require.NoError(b, err)
	nw.Latency(50 * time.Millisecond)
	return func() {
		for range n {
			_, _ = c.Write(make([]byte, 10))
		}
		_, err := io.ReadFull(s, make([]byte, 10*n))
		require.NoError(b, err)
		_, _ = c.Close(), s.Close()
	}
}

// eachLink makes n hosts with ten connections each to a server, and lets the link of each fail, and
// recover after all have failed.
func eachLink(b testing.TB, n int, fail func(*simnet.Link) func()) func() {
	b.Helper()
	nw := simnet.New(b)
	srv := nw.Host("srv")
	ln, err := srv.Listen(b.Context(), "tcp", ":80")
	require.NoError(b, err)
	conns := make([]net.Conn, 0, 20*n)
	links := make([]*simnet.Link, 0, n)
	for i := range n {
		h := nw.Host(fmt.Sprintf("h%d", i))
		links = append(links, nw.Link(h, srv))
		for range 10 {
			c, err := h.DialContext(b.Context(), "tcp", "srv:80")
			require.NoError(b, err)
			s, err := ln.Accept()
			require.NoError(b, err)
			conns = append(conns, c, s)
		}
	}
	return func() {
		undo := make([]func(), 0, n)
		for _, l := range links {
			undo = append(undo, fail(l))
		}
		for _, u := range undo {
			u()
		}
		for _, c := range conns {
			_ = c.Close()
		}
	}
}
