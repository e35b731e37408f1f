package recipes_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStandInsAreTold: docs/fixtures.md names each fixture, by a house rule; docs/disarm.md says
// what stands in for it, by its name or for its package, or that it is left as it is.
func TestStandInsAreTold(t *testing.T) {
	t.Parallel()
	told := map[string]bool{}
	for _, cell := range firstCells(t, "disarm.md") {
		for _, name := range regexp.MustCompile("`([A-Za-z0-9]+(?:\\.[A-Za-z0-9]+|\\.\\*)?)[`{]").FindAllStringSubmatch(cell, -1) {
			told[name[1]] = true
		}
	}
	var missing []string
	for _, cell := range firstCells(t, "fixtures.md") {
		name := strings.Trim(cell, "|` ")
		pkg, _, _ := strings.Cut(name, ".")
		if !told[name] && !told[pkg+".*"] {
			missing = append(missing, name)
		}
	}
	assert.Empty(t, missing, "docs/disarm.md does not say what stands in")
	assert.True(t, told["Forward"] && told["httpfault.*"] && told["tlsfault.Expired"], "%v", told)
}

// firstCells returns the first cell of each row of the tables of a file that begins with a name.
func firstCells(t *testing.T, file string) (cells []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(line, "| `") {
			cells = append(cells, strings.Split(line, " | ")[0])
		}
	}
	require.Greater(t, len(cells), 20)
	return cells
}
