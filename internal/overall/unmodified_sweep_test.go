package overall

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

// A client that takes no dial function meets every fault at every byte, those of its lookups too.
func TestUnmodifiedSweep(t *testing.T) {
	needsOverlay(t)
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello, world") })
	var tried, failed atomic.Int64
	cfg := sweep.Config{Host: "db.example", Limit: 11 * time.Second, Faults: sweep.DefaultFaults()[:2],
		Server: func(ln net.Listener) error { return http.Serve(ln, hello) }}
	sweep.Run(t, cfg, func(_ context.Context, c *sweep.Case) error {
		client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
		defer c.Close(func() error { client.CloseIdleConnections(); return nil })
		get := func() error {
			resp, err := client.Get("http://" + c.Addr())
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err == nil {
				assert.Equal(c, "hello, world", string(b))
			}
			return err
		}
		tried.Add(1)
		err := get()
		if err != nil {
			failed.Add(1)
		}
		c.Recovers(func(context.Context) error { return get() })
		return err
	})
	assert.Greater(t, tried.Load(), int64(400))
	assert.Greater(t, failed.Load(), tried.Load()/2)
}
