package sweep

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/simnet"
)

func serveHello(ln net.Listener) error {
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello, world") }))
}

func get(dial func(ctx context.Context, network, addr string) (net.Conn, error), addr string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + addr)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return err
}

func helloSweep(tb testing.TB, t *testing.T) *sweep {
	cfg := Config{Server: serveHello, Limit: 11 * time.Second}
	require.NoError(tb, cfg.check())
	return &sweep{t: t, cfg: cfg, hop: latency, op: func(_ context.Context, c *Case) error { return get(c.DialContext, c.Addr()) }}
}

func rowsSweep(b *testing.B, t *testing.T) *sweep {
	s := &sweep{t: t, cfg: rowsConfig(""), op: using(""), hop: latency}
	require.NoError(b, s.cfg.check())
	var err error
	s.good, err = s.converse()
	require.NoError(b, err)
	return s
}

// BenchmarkConversation compares one of a sweep with one in a bubble by hand, over a relay.
func BenchmarkConversation(b *testing.B) {
	var t testing.T
	s := helloSweep(b, &t)
	costs.Compare(b, func(*testing.B) { s.one(point{}, false) }, func(b *testing.B) {
		synctest.Test(&t, func(t *testing.T) {
			nw := simnet.New(nil)
			nw.Latency(latency)
			ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(b, err)
			go func() { _ = serveHello(ln) }()
			ep, err := fixtures.Start(t.Context(), fixtures.Forward{To: ln.Addr().String()}, fixtures.Place{Stack: nw})
			require.NoError(b, err)
			require.NoError(b, get(nw.DialContext, ep.Addr()))
			time.Sleep(time.Second)
			_ = ep.Close()
			_ = ln.Close()
		})
	})
}

// BenchmarkWorkers shows what several processors are good for: run it with -cpu 1,2,4.
func BenchmarkWorkers(b *testing.B) {
	var t testing.T
	s := helloSweep(b, &t)
	var err error
	s.good, err = s.converse()
	require.NoError(b, err)
	points := s.points(false)
	for b.Loop() {
		s.all(points)
	}
	b.ReportMetric(float64(len(points)*b.N)/b.Elapsed().Seconds(), "conversations/s")
}

// BenchmarkMemory has 100,000 conversations, and shows what each of them leaves behind: nothing.
func BenchmarkMemory(b *testing.B) {
	var t testing.T
	s := rowsSweep(b, &t)
	points := s.points(false)
	rounds := manytests.Rounds(100_000) / len(points)
	for b.Loop() {
		s.all(points) // what is made once
		heap, goroutines := inUse(), runtime.NumGoroutine()
		for range rounds {
			s.all(points)
		}
		kept := float64(inUse()-heap) / float64(rounds*len(points))
		b.ReportMetric(kept, "B/conversation")
		b.ReportMetric(float64(heap)/(1<<20), "MiB")
		assert.Less(b, kept, 32.)
		assert.Equal(b, goroutines, runtime.NumGoroutine())
	}
}

// inUse is how much memory is in use, once nothing is garbage.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers held
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRepetition has the points of connects and of byte 0 1,000 times: each comes to the same.
func BenchmarkRepetition(b *testing.B) {
	var t testing.T
	s := rowsSweep(b, &t)
	var points []point
	for _, p := range s.points(false) {
		if p.at == 0 {
			points = append(points, p)
		}
	}
	first, differ := s.all(points), 0
	times := manytests.Rounds(1000)
	for b.Loop() {
		for range times {
			for i, r := range s.all(points) {
				if summary(r) != summary(first[i]) {
					differ++
				}
			}
		}
	}
	b.ReportMetric(float64(differ), "differ")
	b.ReportMetric(float64(times*len(points)), "repetitions")
	assert.Zero(b, differ)
}

// summary is all that a repetition must have in common.
func summary(r result) string {
	return fmt.Sprint(r.point.name(), r.outcome(), r.Took, r.Retried, r.err, r.Found)
}

// A point comes to the same each time, byte 0 included, and at the same instant.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("")
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: using("")}
	require.NoError(t, s.begin())
	var points []point
	for _, p := range s.points(false) {
		if p.place == connecting || p.at%7 == 0 {
			points = append(points, p)
		}
	}
	first := s.all(points)
	for range 5 {
		for i, r := range s.all(points) {
			assert.Equal(t, summary(first[i]), summary(r))
		}
	}
}
