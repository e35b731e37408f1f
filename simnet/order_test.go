package simnet_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// against is how many pairs of files there are of which the earlier refers to the later one. If
// there are fewer by now, lower it; if there are more, move what is shared to the earlier file.
const against = 14

// TestFilesAreInOrder keeps the package readable from top to bottom, in the order of doc.go's list.
func TestFilesAreInOrder(t *testing.T) {
	t.Parallel()
	fset := token.NewFileSet()
	var files []*ast.File
	var names []string
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, p := range paths {
		if p == "doc.go" || strings.HasSuffix(p, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, p, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files, names = append(files, f), append(names, p)
	}
	order := order(t)
	require.ElementsMatch(t, names, order, "the list in doc.go names each file once")

	var found []string
	for pair, what := range references(fset, files) {
		if slices.Index(order, pair[0]) < slices.Index(order, pair[1]) {
			found = append(found, fmt.Sprintf("%s refers to %s: %s", pair[0], pair[1], strings.Join(slices.Sorted(maps.Keys(what)), ", ")))
		}
	}
	slices.Sort(found)
	assert.Len(t, found, against, "earlier files that refer to later ones:\n%s", strings.Join(found, "\n"))
}

// order reads the list of files in doc.go. It stands below the package clause, since go doc would
// show it to users.
func order(t *testing.T) (files []string) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", doc, parser.ParseComments)
	require.NoError(t, err)
	assert.NotContains(t, f.Doc.Text(), ".go:", "what go doc shows")
	for _, m := range regexp.MustCompile(`(?m)^//   - (\w+\.go):`).FindAllSubmatch(doc, -1) {
		files = append(files, string(m[1]))
	}
	return files
}

// references returns, for each two files, what of the second the first refers to: functions,
// methods, types, fields, variables and constants of the package.
func references(fset *token.FileSet, files []*ast.File) map[[2]string]map[string]bool {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: nothing{}, Error: func(error) {}} // errors about other packages
	pkg, _ := conf.Check("simnet", fset, files, info)
	found := map[[2]string]map[string]bool{}
	for id, o := range info.Uses {
		field, _ := o.(*types.Var)
		local := o.Parent() != nil && o.Parent() != pkg.Scope()
		if o.Pkg() != pkg || local && (field == nil || !field.IsField()) {
			continue
		}
		pair := [2]string{fset.Position(id.Pos()).Filename, fset.Position(o.Pos()).Filename}
		if pair[0] == pair[1] {
			continue
		}
		if found[pair] == nil {
			found[pair] = map[string]bool{}
		}
		found[pair][o.Name()] = true
	}
	return found
}

// nothing imports empty packages: what the files have from elsewhere does not matter here.
type nothing struct{}

func (nothing) Import(p string) (*types.Package, error) {
	return types.NewPackage(p, path.Base(p)), nil
}
