package simnet_test

import (
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// ends makes the two ends of a connection, as a user would who has no network of this kind.
var ends = map[string]func(tb testing.TB) (c, s net.Conn){
	"simnet": func(tb testing.TB) (c, s net.Conn) {
		tb.Helper()
		nw := simnet.New(tb)
		ln, err := nw.Listen(tb.Context(), "tcp", "127.0.0.1:0")
		require.NoError(tb, err)
		c, err = nw.Dial("tcp", ln.Addr().String())
		require.NoError(tb, err)
		s, err = ln.Accept()
		require.NoError(tb, err)
		return c, s
	},
	"net.Pipe": func(testing.TB) (c, s net.Conn) { return net.Pipe() },
}

func eachEnds(b *testing.B, f func(b *testing.B, c, s net.Conn)) {
	b.Helper()
	for name, pair := range ends {
		b.Run(name, func(b *testing.B) {
			c, s := pair(b)
			defer s.Close()
			defer c.Close()
			b.ReportAllocs()
			f(b, c, s)
		})
	}
}

func BenchmarkPingPong(b *testing.B) {
	eachEnds(b, func(b *testing.B, c, s net.Conn) {
		b.Helper()
		go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{s}, make([]byte, 1)) }()
		one := make([]byte, 1)
		for b.Loop() {
			_, _ = c.Write(one)
			_, _ = c.Read(one)
		}
		_ = c.Close()
	})
}

// An idle connection costs little, and no goroutine.
func TestIdleConnectionsAreCheap(t *testing.T) {
	const count = 4000 // enough for what tests beside this one have on the heap to make no difference
	nw := simnet.New(t)
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	goroutines := runtime.NumGoroutine()
	before := inUse()
	all := make([]net.Conn, 0, 2*count)
	for range count {
		c, err := nw.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		s, err := ln.Accept()
		require.NoError(t, err)
		all = append(all, c, s)
	}
	each := (inUse() - before) / uint64(count)
	require.Less(t, each, uint64(2560), "B for each connection, both ends: 1,975 to 2,062, by how full the network's maps are")
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+10) // of tests beside this one
	t.Logf("%d B for each connection", each)
	for _, c := range all {
		require.NoError(t, c.Close())
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
