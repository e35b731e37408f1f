// Doccheck lists, one line each, the exported names without a doc comment, the names in exported
// declarations that are not exported or internal, the functions that are too long and the files
// that are too long. It reads every Go file of the tree, whatever its build constraints, but for
// tests, the survey, testdata and directories whose name begins with a dot or an underscore.
//
// Names are types, functions, methods of exported types, constants and variables; for the last two
// a comment on their group or at the end of their line will do. Struct fields and interface methods
// are left to the reader.
//
//	go run ./.ci/doccheck [directory]
//
// It exits with 0 whatever it finds, and with 2 if a file cannot be read or parsed.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Budgets in lines: of a function's body, without its braces, and of a file.
const (
	maxFunc = 40
	maxFile = 500
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := walk(root); err != nil {
		fmt.Fprintln(os.Stderr, "doccheck:", err)
		os.Exit(2)
	}
}

func walk(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && skipped(d.Name()):
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}
		return checkFile(path)
	})
}

func skipped(dir string) bool {
	return dir == "survey" || dir == "testdata" || dir[0] == '.' || dir[0] == '_'
}

// A checker prints what is wrong with one file.
type checker struct {
	fset *token.FileSet
}

func checkFile(path string) error {
	c := checker{token.NewFileSet()}
	f, err := parser.ParseFile(c.fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if n := c.fset.File(f.Pos()).LineCount(); n > maxFile {
		fmt.Printf("%s: %d lines; want at most %d\n", path, n, maxFile)
	}
	c.signatures(path, f)
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			c.function(decl)
		case *ast.GenDecl:
			c.group(decl)
		}
	}
	return nil
}

func (c checker) report(pos token.Pos, format string, args ...any) {
	p := c.fset.Position(pos)
	fmt.Printf("%s:%d: %s\n", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

func (c checker) undocumented(pos token.Pos, kind, name string) {
	c.report(pos, "exported %s %s has no doc comment", kind, name)
}

func (c checker) function(f *ast.FuncDecl) {
	name := f.Name.Name
	exported, kind := f.Name.IsExported(), "func"
	if f.Recv != nil {
		recv := receiver(f.Recv.List[0].Type)
		kind, name = "method", recv+"."+name
		exported = exported && ast.IsExported(recv)
	}
	if exported && f.Doc.Text() == "" {
		c.undocumented(f.Pos(), kind, name)
	}
	if f.Body == nil {
		return
	}
	first, last := c.fset.Position(f.Body.Lbrace).Line, c.fset.Position(f.Body.Rbrace).Line
	if n := last - first - 1; n > maxFunc {
		c.report(f.Pos(), "%s %s has %d lines; want at most %d", kind, name, n, maxFunc)
	}
}

// receiver names the type of a method: T for T, *T and T[P].
func receiver(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		default:
			return ""
		}
	}
}

func (c checker) group(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			documented := s.Doc.Text() != "" || !d.Lparen.IsValid() && d.Doc.Text() != ""
			if s.Name.IsExported() && !documented {
				c.undocumented(s.Pos(), "type", s.Name.Name)
			}
		case *ast.ValueSpec:
			if d.Doc.Text() == "" && s.Doc.Text() == "" && s.Comment.Text() == "" {
				c.values(d.Tok, s)
			}
		}
	}
}

func (c checker) values(kind token.Token, s *ast.ValueSpec) {
	for _, name := range s.Names {
		if name.IsExported() {
			c.undocumented(name.Pos(), kind.String(), name.Name)
		}
	}
}
