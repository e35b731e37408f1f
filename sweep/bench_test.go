package sweep

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/costs"
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
	return &sweep{t: t, cfg: cfg, op: func(_ context.Context, c *Case) error { return get(c.DialContext, c.Addr()) }}
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

// BenchmarkWorkers shows what several processors are good for.
func BenchmarkWorkers(b *testing.B) {
	var t testing.T
	for _, workers := range []int{1, 2, 4} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			s := helloSweep(b, &t)
			s.cfg.Workers = workers
			var err error
			s.good, err = s.converse()
			require.NoError(b, err)
			points := s.points(false)
			for b.Loop() {
				s.all(points)
			}
			b.ReportMetric(float64(len(points)*b.N)/b.Elapsed().Seconds(), "conversations/s")
		})
	}
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
			assert.Equal(t, [4]any{first[i].outcome(), first[i].took, first[i].retried, fmt.Sprint(first[i].err)},
				[4]any{r.outcome(), r.took, r.retried, fmt.Sprint(r.err)}, r.point.name())
		}
	}
}
