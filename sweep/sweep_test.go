package sweep_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/sweep"
)

// serve is a web server with one page.
func serve(ln net.Listener) error {
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello, world")
	}))
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	cfg := sweep.Config{Server: serve, Limit: 11 * time.Second, Max: 300}
	sweep.Run(t, cfg, func(ctx context.Context, c *sweep.Case) error {
		client := http.Client{Transport: &http.Transport{DialContext: c.DialContext}, Timeout: 5 * time.Second}
		defer c.Close(func() error { client.CloseIdleConnections(); return nil })
		resp, err := client.Get("http://" + c.Addr())
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err == nil {
			require.Equal(c, "hello, world", string(page))
		}
		return err
	})
}
