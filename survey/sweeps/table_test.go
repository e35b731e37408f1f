package sweeps

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// README.md has a row for each map.
func TestTable(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	mod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	for _, s := range subjects {
		text, err := os.ReadFile("testdata/" + s.name + ".map")
		require.NoError(t, err)
		row := fmt.Sprintf("| %s | %s | %s | %s |\n", s.name, s.version(string(mod)), s.does, summary(t, string(text)))
		assert.True(t, strings.Contains(string(readme), row), "../README.md lacks the row:\n%s", row)
	}
}

// version is that of the module, as exam's table has it.
func (s subject) version(mod string) string {
	for line := range strings.Lines(mod) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == s.module {
			return f[1]
		}
	}
	v := strings.Split(strings.TrimPrefix(runtime.Version(), "go"), ".") // of the standard library: not each patch
	return "Go " + v[0] + "." + v[1]
}

// summary is the count that is in a map, and why violations are accepted.
func summary(t *testing.T, text string) string {
	t.Helper()
	var count, reasons []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, found := strings.CutPrefix(line, "# "); found && strings.Contains(rest, " points: ") {
			count = strings.SplitN(strings.TrimSuffix(rest, "."), " points: ", 2)
		}
		if where, reason, found := strings.Cut(line, " # "); found {
			_, outcome, _ := strings.Cut(where, ": ")
			if reason = outcome + ": " + reason; !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	require.Len(t, count, 2)
	slices.Sort(reasons)
	return fmt.Sprintf("%s | %s | %s", count[0], count[1], strings.Join(reasons, "; "))
}
