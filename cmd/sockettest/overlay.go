package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // for go:embed
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.com/go-sockettest/internal/intercept"
)

// added is the file that the overlay adds to package net.
//
//go:embed overlay/zz_sockettest.go.txt
var added string

const addedName = "zz_sockettest.go"

// A goEnv is what the go command says of itself.
type goEnv struct{ GOOS, GOROOT, GOVERSION, GOMODCACHE, GOFLAGS string }

// A layout is an overlay as it is written: the files of package net by their paths in the GOROOT,
// and the user's own.
type layout struct {
	goroot string            // as the go command must see it
	files  map[string][]byte // by path
	own    map[string]string // the user's: by path, where the replacement is
	from   string            // the user's overlay; empty if there is none
}

// An overlayFile is what the go command reads. It ignores From.
type overlayFile struct {
	Replace map[string]string
	From    string `json:",omitempty"` // the user's own overlay, which is merged
}

// thisGo asks the go command that the shell would run.
func thisGo() (e goEnv, err error) {
	out, err := exec.Command("go", "env", "-json", "GOOS", "GOROOT", "GOVERSION", "GOMODCACHE", "GOFLAGS").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return e, fmt.Errorf("go env: %s", bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return e, fmt.Errorf("the go command cannot be run: %w", err)
	}
	return e, json.Unmarshal(out, &e)
}

// cacheDir is where overlays are kept.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for overlays: %w; set XDG_CACHE_HOME or HOME", err)
	}
	return filepath.Join(dir, "go-sockettest", "overlay"), nil
}

// systems are those whose package net has the files that are edited.
var systems = []string{"linux", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly"}

// makeOverlay writes an overlay below dir, unless it is there, and returns its path and the GOROOT
// that it is for.
func makeOverlay(e goEnv, dir string) (path, goroot string, err error) {
	if !slices.Contains(systems, e.GOOS) {
		return "", "", fmt.Errorf("GOOS is %s; want one of %s", e.GOOS, strings.Join(systems, ", "))
	}
	l := layout{goroot: e.GOROOT, files: map[string][]byte{}}
	if l.own, l.from, err = ownOverlay(e.GOFLAGS, dir); err != nil {
		return "", "", err
	}
	if within(e.GOROOT, e.GOMODCACHE) { // the go command takes no overlay of files there
		l.goroot = filepath.Join(dir, "goroot-"+e.GOVERSION)
		if err := linkTo(e.GOROOT, l.goroot); err != nil {
			return "", "", err
		}
	}
	if err := l.edit(e); err != nil {
		return "", "", err
	}
	path, err = l.write(dir, e.GOVERSION)
	return path, l.goroot, err
}

// edit makes the files of package net.
func (l *layout) edit(e goEnv) error {
	lines := map[string][]edit{}
	for _, ed := range edits {
		lines[ed.file] = append(lines[ed.file], ed)
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		path := l.inNet(name)
		source := cmp.Or(l.own[path], path)
		text, err := os.ReadFile(source)
		if err != nil {
			return fmt.Errorf("%s: %w; want a Go with its own sources", e.GOVERSION, err)
		}
		if l.files[path], err = apply(text, lines[name]); err != nil {
			return fmt.Errorf("%s is not known to this version of sockettest: %s: %w", e.GOVERSION, source, err)
		}
		delete(l.own, path)
	}
	text := strings.NewReplacer("SIM_VERSION", strconv.Itoa(intercept.Version), "SIM_GO", strings.Fields(e.GOVERSION)[0]).Replace(added)
	l.files[l.inNet(addedName)] = []byte(text)
	return nil
}

func (l *layout) inNet(name string) string { return filepath.Join(l.goroot, "src", "net", name) }

// apply puts each line at the top of what its anchor declares.
func apply(text []byte, lines []edit) ([]byte, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	tops := map[string]int{} // by declaration, as it reads
	for _, d := range f.Decls {
		if open := opening(d); open.IsValid() {
			top := fset.Position(open).Offset
			head := text[fset.Position(d.Pos()).Offset:top]
			tops[strings.Join(strings.Fields(string(head)), " ")] = top + 1
		}
	}
	at := map[int]string{}
	for _, ed := range lines {
		top, found := tops[ed.anchor]
		if !found {
			return nil, fmt.Errorf("no %q", ed.anchor)
		}
		at[top] = ed.line
	}
	for _, top := range slices.Backward(slices.Sorted(maps.Keys(at))) {
		text = slices.Concat(text[:top], []byte("\n\t"+at[top]), text[top:])
	}
	return text, nil
}

// opening returns where the brace of a function's body or of a struct opens.
func opening(d ast.Decl) token.Pos {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Body != nil {
			return d.Body.Lbrace
		}
	case *ast.GenDecl:
		if spec, ok := d.Specs[0].(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				return s.Fields.Opening
			}
		}
	}
	return token.NoPos
}

// sum names the content.
func (l *layout) sum() string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		fmt.Fprintf(sum, "%q %q\n", name, l.files[name])
	}
	for _, name := range slices.Sorted(maps.Keys(l.own)) {
		fmt.Fprintf(sum, "%q %q\n", name, l.own[name])
	}
	fmt.Fprintf(sum, "%q", l.from)
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// write writes the overlay to a directory that is named by its content.
func (l *layout) write(dir, version string) (path string, err error) {
	final := filepath.Join(dir, version+"-"+l.sum())
	path = filepath.Join(final, "overlay.json")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", cannotWrite(err)
	}
	fresh, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return "", cannotWrite(err)
	}
	defer os.RemoveAll(fresh)
	all, texts := overlayFile{maps.Clone(l.own), l.from}, map[string][]byte{}
	for name, text := range l.files {
		all.Replace[name] = filepath.Join(final, filepath.Base(name))
		texts[filepath.Base(name)] = text
	}
	if texts["overlay.json"], err = json.MarshalIndent(all, "", "\t"); err != nil {
		return "", err
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o666); err != nil {
			return "", cannotWrite(err)
		}
	}
	err = cmp.Or(os.Chmod(fresh, 0o755), os.Rename(fresh, final))
	if err != nil && !errors.Is(err, fs.ErrExist) { // else another process was first
		return "", cannotWrite(err)
	}
	return path, nil
}

func cannotWrite(err error) error {
	return fmt.Errorf("the overlay cannot be written: %w; set XDG_CACHE_HOME to a directory that can be", err)
}

// linkTo makes a symbolic link to a GOROOT.
func linkTo(goroot, link string) error {
	if to, err := os.Readlink(link); err == nil && to == goroot {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
		return cannotWrite(err)
	}
	fresh := link + "-" + strconv.Itoa(os.Getpid())
	if err := os.Symlink(goroot, fresh); err != nil {
		return cannotWrite(err)
	}
	if err := os.Rename(fresh, link); err != nil {
		return cannotWrite(err)
	}
	return nil
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return dir != "" && err == nil && filepath.IsLocal(rel)
}
