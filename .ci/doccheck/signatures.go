package main

import (
	"go/ast"
	"go/types"
	"path"
	"path/filepath"
	"strings"
)

// A signature is an exported declaration: what go doc shows of it.
type signature struct {
	checker
	name   string
	params map[string]bool // its type parameters
	hidden map[string]bool // packages under internal/, by their names in the file
}

// signatures reports the names in exported declarations that a reader of go doc cannot look up:
// those that are not exported, and those of packages under internal/.
func (c checker) signatures(file string, f *ast.File) {
	if f.Name.Name == "main" || strings.Contains(filepath.ToSlash(file), "internal/") {
		return
	}
	hidden := map[string]bool{}
	for _, i := range f.Imports {
		if p := strings.Trim(i.Path.Value, `"`); strings.Contains(p, "/internal/") {
			hidden[path.Base(p)] = true
		}
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
				s := signature{c, d.Name.Name, map[string]bool{}, hidden}
				if d.Recv != nil { // names the parameters of its type
					ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
						if id, ok := n.(*ast.Ident); ok {
							s.params[id.Name] = true
						}
						return true
					})
				}
				s.declare(d.Type.TypeParams)
				s.look(d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && t.Name.IsExported() {
					s := signature{c, t.Name.Name, map[string]bool{}, hidden}
					s.declare(t.TypeParams)
					s.look(t.Type)
				}
			}
		}
	}
}

// declare notes type parameters, and looks at their constraints.
func (s signature) declare(list *ast.FieldList) {
	if list == nil {
		return
	}
	for _, f := range list.List {
		for _, n := range f.Names {
			s.params[n.Name] = true
		}
	}
	s.fields(list, true)
}

// fields looks at the types of a list: all of them, or those whose names are exported.
func (s signature) fields(list *ast.FieldList, all bool) {
	for _, f := range list.List {
		if all || len(f.Names) > 0 && f.Names[0].IsExported() {
			s.look(f.Type)
		}
	}
}

func (s signature) look(t ast.Expr) {
	ast.Inspect(t, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			s.fields(n.Fields, false)
		case *ast.InterfaceType:
			s.fields(n.Methods, false)
		case *ast.Field:
			s.look(n.Type)
		case *ast.SelectorExpr:
			if p, ok := n.X.(*ast.Ident); ok && s.hidden[p.Name] {
				s.report(n.Pos(), "%s shows %s.%s, which is internal", s.name, p.Name, n.Sel.Name)
			}
		case *ast.Ident:
			if !n.IsExported() && !s.params[n.Name] && types.Universe.Lookup(n.Name) == nil {
				s.report(n.Pos(), "%s shows %s, which is not exported", s.name, n.Name)
			}
		default:
			return true
		}
		return false
	})
}
