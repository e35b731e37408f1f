package main

import (
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOverlayOfThisGo(t *testing.T) {
	t.Parallel()
	e, err := thisGo()
	require.NoError(t, err)
	if !slices.Contains(systems, e.GOOS) {
		t.Skip("no overlay for " + e.GOOS)
	}
	e.GOFLAGS = ""
	dir := t.TempDir()
	path, goroot, err := makeOverlay(e, dir)
	require.NoError(t, err)
	all, err := readOverlay(path)
	require.NoError(t, err)
	added := filepath.Join(goroot, "src", "net", addedName)
	assert.NoFileExists(t, added, "Go's own file")
	assert.FileExists(t, all.Replace[added])
	for _, ed := range edits {
		text, err := os.ReadFile(all.Replace[filepath.Join(goroot, "src", "net", ed.file)])
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(string(text), "\n\t"+ed.line+"\n"), ed.anchor)
		_, err = parser.ParseFile(token.NewFileSet(), ed.file, text, 0)
		assert.NoError(t, err)
	}
	again, _, err := makeOverlay(e, dir)
	require.NoError(t, err)
	assert.Equal(t, path, again)
}

func TestOverlayAddsNothingElse(t *testing.T) {
	t.Parallel()
	text := "package net\n\n// f is not g.\nfunc (c *conn) f(a,\n\tb int) error {\n\treturn nil\n}\n\ntype s struct { a int }\n"
	got, err := apply([]byte(text), []edit{{anchor: "type s struct", line: "b int"}, {anchor: "func (c *conn) f(a, b int) error", line: "if c.sim { return nil }"}})
	require.NoError(t, err)
	assert.Equal(t, "package net\n\n// f is not g.\nfunc (c *conn) f(a,\n\tb int) error {\n\tif c.sim { return nil }\n\treturn nil\n}\n\ntype s struct {\n\tb int a int }\n", string(got))
}

func TestOverlayTableIsInOrder(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, ed := range edits {
		assert.NotEmpty(t, ed.why, ed.anchor)
		assert.False(t, seen[ed.file+ed.anchor], ed.anchor)
		seen[ed.file+ed.anchor] = true
	}
	text, err := format.Source([]byte(strings.Replace(added, "SIM_VERSION", "1", 1)))
	require.NoError(t, err)
	assert.Equal(t, string(text), strings.Replace(added, "SIM_VERSION", "1", 1), "gofmt")
}

func TestOverlayIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/unmodified.md")
	require.NoError(t, err)
	assert.Contains(t, string(text), fmt.Sprintf("at the top of %d functions and a struct", len(edits)-1))
	example := "if fd.sim != nil { return fd.simRead(p) }"
	assert.Contains(t, string(text), example)
	assert.Contains(t, lines(), example)
	tests, err := os.ReadFile("../../internal/overall/unmodified_test.go")
	require.NoError(t, err)
	_, block, _ := strings.Cut(string(text), "```go\n")
	block, _, _ = strings.Cut(block, "```")
	assert.NotEmpty(t, block)
	assert.Contains(t, string(tests), block)
}

func lines() (all []string) {
	for _, ed := range edits {
		all = append(all, ed.line)
	}
	return all
}

// gorootOf makes a GOROOT with declarations in each file of package net, and no more.
func gorootOf(t *testing.T, without string) goEnv {
	t.Helper()
	if filepath.Separator != '/' {
		t.Skip("paths as on unix systems")
	}
	root := t.TempDir()
	net := filepath.Join(root, "src", "net")
	require.NoError(t, os.MkdirAll(net, 0o777))
	texts := map[string]string{}
	for _, ed := range edits {
		if ed.anchor != without {
			texts[ed.file] += ed.anchor + " {\n}\n"
		}
	}
	for name, text := range texts {
		require.NoError(t, os.WriteFile(filepath.Join(net, name), []byte("package net\n"+text), 0o666))
	}
	return goEnv{GOOS: "linux", GOROOT: root, GOVERSION: "go1.99", GOMODCACHE: t.TempDir()}
}

func TestOverlayRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	const anchor = "func (fd *netFD) shutdown(how int) error"
	_, _, err := makeOverlay(gorootOf(t, anchor), t.TempDir())
	require.ErrorContains(t, err, "go1.99 is not known to this version of sockettest")
	require.ErrorContains(t, err, `fd_posix.go: no "`+anchor+`"`)

	e := gorootOf(t, "")
	require.NoError(t, os.WriteFile(filepath.Join(e.GOROOT, "src", "net", "conf.go"), []byte("package"), 0o666))
	_, _, err = makeOverlay(e, t.TempDir())
	require.ErrorContains(t, err, "conf.go: 1:8: expected 'IDENT'")

	e.GOOS = "windows"
	_, _, err = makeOverlay(e, t.TempDir())
	require.EqualError(t, err, "GOOS is windows; want one of linux, darwin, freebsd, netbsd, openbsd, dragonfly")

	e.GOOS = "darwin"
	require.NoError(t, os.RemoveAll(filepath.Join(e.GOROOT, "src")))
	_, _, err = makeOverlay(e, t.TempDir())
	require.ErrorContains(t, err, "want a Go with its own sources")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestOverlayMergesTheUsersOwn(t *testing.T) {
	t.Parallel()
	e := gorootOf(t, "")
	own := t.TempDir()
	conf := filepath.Join(e.GOROOT, "src", "net", "conf.go")
	mine := filepath.Join(own, "conf.go")
	text, err := os.ReadFile(conf)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(mine, append(text, "// mine\n"...), 0o666))
	list := filepath.Join(own, "o v.json")
	write := func(o overlayFile) {
		text, err := json.Marshal(o)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(list, text, 0o666))
	}
	write(overlayFile{Replace: map[string]string{conf: mine, "/else.go": mine, "/gone.go": ""}})
	e.GOFLAGS = `-v "--overlay=` + list + `"`
	dir := t.TempDir()
	path, _, err := makeOverlay(e, dir)
	require.NoError(t, err)
	all, err := readOverlay(path)
	require.NoError(t, err)
	assert.Equal(t, list, all.From)
	assert.Equal(t, mine, all.Replace["/else.go"])
	assert.Contains(t, all.Replace, "/gone.go")
	text, err = os.ReadFile(all.Replace[conf])
	require.NoError(t, err)
	assert.Contains(t, string(text), "\tif simNow() != nil { return true }\n")
	assert.Contains(t, string(text), "// mine\n")

	e.GOFLAGS = withOverlay(e.GOFLAGS, path) // ours, which knows what was merged
	assert.Equal(t, "-v -overlay="+path, e.GOFLAGS)
	again, _, err := makeOverlay(e, dir)
	require.NoError(t, err)
	assert.Equal(t, path, again)

	require.NoError(t, os.Remove(list))
	_, _, err = makeOverlay(e, dir)
	require.ErrorContains(t, err, "GOFLAGS has -overlay="+list+": open ")
	e.GOFLAGS = "-overlay=" + filepath.Join(dir, "gone", "overlay.json")
	_, _, err = makeOverlay(e, dir)
	require.ErrorContains(t, err, "unset it and try again")
}

func TestOverlayOfDownloadedGo(t *testing.T) {
	t.Parallel()
	e := gorootOf(t, "")
	e.GOMODCACHE = filepath.Dir(e.GOROOT)
	dir := t.TempDir()
	path, goroot, err := makeOverlay(e, dir)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "goroot-go1.99"), goroot)
	all, err := readOverlay(path)
	require.NoError(t, err)
	for from := range all.Replace {
		assert.True(t, within(from, goroot), from)
	}
	assert.Equal(t, "export GOROOT='"+goroot+"'\nexport GOTOOLCHAIN='local'\nexport PATH='"+goroot+"/bin':\"$PATH\"\nexport GOFLAGS='-overlay="+path+"'",
		commands(e, path, goroot))
	e.GOROOT = t.TempDir() // it was downloaded again, elsewhere
	require.NoError(t, linkTo(e.GOROOT, goroot))
	to, err := os.Readlink(goroot)
	require.NoError(t, err)
	assert.Equal(t, e.GOROOT, to)
}

func TestOverlayCannotBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	_, _, err := makeOverlay(gorootOf(t, ""), filepath.Join(file, "cache"))
	require.ErrorContains(t, err, "the overlay cannot be written: mkdir "+file)
	require.ErrorContains(t, err, "set XDG_CACHE_HOME to a directory that can be")
}

func TestSplitFlags(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"-a", "-b=c d", `-e="f"`, "-g"}, splitFlags("  -a '-b=c d'\t"+`-e="f"`+" \n-g "))
	assert.Empty(t, splitFlags(" "))
	assert.Equal(t, `-a=b "-e=f g" "-overlay=/c d"`, withOverlay("-a=b '-e=f g'", "/c d"))
}
