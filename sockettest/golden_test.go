package sockettest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/*.golden again")

// golden compares text with testdata/<test's name>.golden.
func golden(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join("testdata", strings.ReplaceAll(t.Name(), "/", "-")+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test ./sockettest -update once, and read what it writes")
	assert.Equal(t, string(want), text+"\n")
}

// steady replaces what differs from run to run, so that real failures can be golden as well.
func steady(text string) string {
	for _, r := range []struct{ from, to string }{
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`\[::1\]:\d+`, "[::1]:PORT"},
		{`/\S*/sockettest-\d+/s\b`, "PATH"},
		{`\b\d+(\.\d+)?(ns|µs|ms|s)\b`, "TIME"},
		{`\d+ B (unread|unacknowledged)`, "N B $1"},
		{`\d+ retransmitted, RTO TIME, window \d+ B out, \d+ B in`, "N retransmitted, RTO TIME, window N B out, N B in"},
		{`(?m)^  +[+-]TIME`, "  +TIME"},
		{`window   0 [-=X]+ TIME`, "window   BAR"},
		{`\.go:\d+`, ".go:LINE"},
		{`sockettest\.Test[\w.]+\.dialing\.`, "sockettest.dialing."},      // Go 1.26 names a closure by where it was inlined
		{`\*(poll\.DeadlineExceededError|net\.timeoutError)`, "*TIMEOUT"}, // a coin toss of package net
		{` \(this machine's timers: TIME late\)`, ""},
	} {
		text = regexp.MustCompile(r.from).ReplaceAllString(text, r.to)
	}
	return text
}
