package archtest

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

func checkInit(m *Module, say report) {
	for _, p := range m.packages {
		for _, f := range p.files {
			if f.generated {
				continue
			}
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					say(f.name, m.line(fn), "func init runs behind its importers' backs; call it from where things are put together")
				}
			}
		}
	}
}

// checkVars looks at the form of every package variable outside tests, and for
// writes to any of them, in tests too.
func checkVars(m *Module, say report) {
	for _, p := range m.packages {
		for _, f := range p.files {
			if f.generated || f.test {
				continue
			}
			for _, d := range f.ast.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
					for _, s := range g.Specs {
						checkVarForm(m, f, g, s.(*ast.ValueSpec), say)
					}
				}
			}
		}
	}
	m.eachChecked(func(c checked) {
		for _, f := range c.files {
			if !f.generated {
				w := &writes{m: m, c: c, f: f, say: say}
				ast.Inspect(f.ast, w.visit)
			}
		}
	})
}

func checkVarForm(m *Module, f *file, g *ast.GenDecl, s *ast.ValueSpec, say report) {
	if isEmbedded(g, s) {
		return
	}
	for i, name := range s.Names {
		switch {
		case name.Name == "_":
		case len(s.Values) != len(s.Names):
			say(f.name, m.line(name), "package variable %s is state; give it to the value that owns it", name.Name)
		case isErrorValue(f, s.Values[i]) || isTable(f, s.Values[i]):
		case isConstant(s.Values[i]):
			say(f.name, m.line(name), "package variable %s never needs to change; make it a const", name.Name)
		default:
			say(f.name, m.line(name), "package variable %s is neither an error, an embedded file nor a table; pass it to whoever needs it", name.Name)
		}
	}
}

func isEmbedded(g *ast.GenDecl, s *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, s.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// isErrorValue reports whether e makes an error.
func isErrorValue(f *file, e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CallExpr:
		name := calleeName(e.Fun)
		return name == "errors.New" || strings.HasSuffix("."+name, ".Errorf")
	case *ast.UnaryExpr:
		lit, ok := e.X.(*ast.CompositeLit)
		return ok && e.Op == token.AND && strings.HasSuffix("."+calleeName(lit.Type), ".Error")
	case *ast.SelectorExpr: // another package's error under a name that says more
		return strings.HasPrefix(e.Sel.Name, "Err")
	}
	return false
}

// isTable reports whether e is a literal table, or what is as good as one.
func isTable(f *file, e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		name := calleeName(e.Type)
		return !strings.HasPrefix(name, "sync.") && !strings.HasPrefix(name, "atomic.")
	case *ast.CallExpr:
		if _, ok := e.Fun.(*ast.ArrayType); ok {
			return true // []byte("...")
		}
		return slices.Contains([]string{
			"regexp.MustCompile", "strings.NewReplacer", "template.Must",
			"netip.MustParseAddr", "netip.MustParsePrefix", "netip.MustParseAddrPort", "netip.AddrFrom4", "netip.AddrFrom16",
		}, calleeName(e.Fun))
	}
	return false
}

// isConstant reports whether e could be a const.
func isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.BinaryExpr:
		return isConstant(e.X) && isConstant(e.Y)
	case *ast.ParenExpr:
		return isConstant(e.X)
	}
	return false
}

// calleeName returns "f" or "pkg.f" for such expressions, otherwise "".
func calleeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}

// writes finds what changes package variables in one file.
type writes struct {
	m   *Module
	c   checked
	f   *file
	say report
}

func (w *writes) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, e := range n.Lhs {
				w.found(e, "assigned to")
			}
		}
	case *ast.IncDecStmt:
		w.found(n.X, "assigned to")
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			w.found(n.Key, "assigned to")
			w.found(n.Value, "assigned to")
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			w.found(n.X, "given away by address")
		}
	case *ast.SelectorExpr:
		if takesAddress(w.c.info.Selections[n]) {
			w.found(n.X, "given to a method that can change it")
		}
	case *ast.CallExpr:
		if changesArgument(calleeName(n.Fun)) && len(n.Args) > 0 {
			w.found(n.Args[0], "changed by "+calleeName(n.Fun))
		}
	}
	return true
}

// takesAddress reports whether a selection is a method called on a variable
// that is passed by its address although it is no pointer.
func takesAddress(s *types.Selection) bool {
	if s == nil || s.Kind() != types.MethodVal {
		return false
	}
	recv := s.Obj().Type().(*types.Signature).Recv()
	if recv == nil {
		return false
	}
	_, want := recv.Type().(*types.Pointer)
	_, have := s.Recv().Underlying().(*types.Pointer)
	return want && !have
}

func changesArgument(name string) bool {
	return slices.Contains([]string{
		"delete", "clear", "copy", "sort.Slice", "sort.SliceStable", "sort.Strings", "sort.Ints", "sort.Sort",
		"slices.Sort", "slices.SortFunc", "slices.SortStableFunc", "slices.Reverse", "slices.Delete", "slices.Insert",
		"maps.Copy", "maps.DeleteFunc", "maps.Insert",
	}, name)
}

// found reports a change of the variable at the root of e, if that is one of a
// package's.
func (w *writes) found(e ast.Expr, how string) {
	id := rootOf(e, w.c.info)
	if id == nil {
		return
	}
	v, ok := w.c.info.Uses[id].(*types.Var)
	if ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
		if declared := w.m.fset.Position(v.Pos()).Filename; strings.HasSuffix(declared, "_test.go") || strings.HasSuffix(declared, ".pb.go") {
			return
		}
		w.say(w.f.name, w.m.line(id), "package variable %s is %s here; tables and errors are never written: give the state to a value that somebody owns", v.Name(), how)
	}
}

// rootOf returns the identifier of the variable that e is or is a part of: x
// for x[i].f, F for pkg.F.
func rootOf(e ast.Expr, info *types.Info) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok {
				if _, isPkg := info.Uses[id].(*types.PkgName); isPkg {
					return x.Sel
				}
			}
			e = x.X
		default:
			return nil
		}
	}
}
