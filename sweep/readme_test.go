package sweep

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fetch ignores the error of Body.Read.
func fetch(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b := make([]byte, 512)
	n, _ := resp.Body.Read(b)
	return string(b[:n]), nil
}

// The report in the README is from what its test prints.
func TestREADME(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the report is of all conversations")
	}
	cfg := Config{Limit: 11 * time.Second, Server: func(ln net.Listener) error {
		return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello, world") }))
	}}
	text, bad := sweepOver(t, cfg, func(_ context.Context, c *Case) error {
		client := &http.Client{Transport: &http.Transport{DialContext: c.DialContext}, Timeout: 5 * time.Second}
		defer c.Close(func() error { client.CloseIdleConnections(); return nil })
		page, err := fetch(client, "http://"+c.Addr())
		if err == nil && page != "hello, world" {
			c.Errorf("got %q", page)
		}
		return err
	})
	require.True(t, bad)
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, block, _ := strings.Cut(string(readme), "```\nfetch_test.go:25: ")
	block, _, _ = strings.Cut(block, "```")
	text = regexp.MustCompile(`in \S+,`).ReplaceAllString(strings.ReplaceAll(text, t.Name(), "TestFetch"), "in 160ms,")
	for line := range strings.Lines(block) {
		assert.Contains(t, text, strings.TrimSpace(line))
	}
	assert.Contains(t, block, "again  ")
}
