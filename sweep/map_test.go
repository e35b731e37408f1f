package sweep

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMap(t *testing.T) { // not parallel: it sets the flag
	cfg := rowsConfig("fin")
	cfg.Map = filepath.Join(t.TempDir(), "testdata", "rows.map")
	sweeps := func(bug string, want ...string) {
		t.Helper()
		text, bad := sweepOver(t, cfg, using(bug))
		assert.Equal(t, len(want) > 0, bad, text)
		for _, w := range want {
			assert.Contains(t, text, w)
		}
	}
	edit := func(old, to string) {
		t.Helper()
		text, err := os.ReadFile(cfg.Map)
		require.NoError(t, err)
		require.Contains(t, string(text), old)
		require.NoError(t, os.WriteFile(cfg.Map, []byte(strings.ReplaceAll(string(text), old, to)), 0o600))
	}
	writes := func(bug string, want ...string) {
		t.Helper()
		*update = true
		defer func() { *update = false }()
		sweeps(bug, want...)
	}

	sweeps("", "no such file or directory; go test -run '^TestMap$' -sweep.update makes it")
	writes("panic on a short header", "panics           answer bytes 1, 5, 10, 15, 17 of 20") // it accepts no violation
	want, err := os.ReadFile("testdata/rows.map")
	require.NoError(t, err)
	got, err := os.ReadFile(cfg.Map)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))

	edit(": panics # ?", ": panics # it is being rewritten")
	sweeps("panic on a short header", "leaks            answer bytes 1 of 20")
	edit("leaks + panics # ?", "leaks + panics # the same")
	sweeps("panic on a short header")
	writes("panic on a short header") // the reasons stay
	sweeps("panic on a short header")

	sweeps("", "changed          answer fin, write 1, bytes 1-1: closed in call, and was \"leaks + panics\"")
	sweeps("forgotten rows.Err", "changed          answer fin, write 2, bytes 0-0: wrong", "wrong            answer bytes 4-13, 20 of 20")
	edit("answer fin, write 1, bytes 1-1:", "answer fin, write 1, bytes x-1:")
	sweeps("", `is no line of a map; want one such as "answer reset, write 1, bytes 0-9: ok"`)
	require.NoError(t, os.Remove(cfg.Map))
	cfg.Max = 12 // of those that are drawn, the same each time
	writes("")
	cfg.Max = 5 // which are some of these
	sweeps("")
	s := &sweep{t: t, cfg: cfg}
	*update = true
	defer func() { *update = false }()
	_, err = s.atlas([]result{{skipped: outOfTime}}, 0)
	assert.ErrorContains(t, err, "which was not written: not all points were tried; want a run without -short that has more time")
}
