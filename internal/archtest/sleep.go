package archtest

import (
	"go/ast"
	"go/token"
	"go/types"
)

// checkSleep finds time.Sleep, and a bare wait for time.After, in tests,
// unless it runs in a bubble of testing/synctest, where time is simulated and
// waiting costs nothing. A function is in a bubble if it is given to
// synctest.Test, or to a function that hands it on there, or is only ever used
// by functions that are.
func checkSleep(m *Module, say report) {
	m.eachChecked(func(c checked) {
		b := bubbles{c: c, makers: map[types.Object]bool{}, in: map[types.Object]bool{}}
		b.collectMakers()
		b.collect()
		for _, f := range c.files {
			if !f.test {
				continue
			}
			b.walk(f, func(n ast.Node, fn types.Object, bubble bool) {
				if bubble || b.in[fn] {
					return
				}
				if at, what := sleeps(f, n); at != nil {
					say(f.name, m.line(at), "a test uses %s outside of a synctest bubble; wait for the event itself, or poll with a deadline where there is no event", what)
				}
			})
		}
	})
}

// sleeps returns where and how n itself lets time pass, or nil.
func sleeps(f *file, n ast.Node) (at ast.Node, what string) {
	switch n := n.(type) {
	case *ast.CallExpr:
		if name, _ := f.uses(n.Fun, "time"); name == "Sleep" {
			return n, "time.Sleep"
		}
	case *ast.BlockStmt: // unlike a select, where time.After is a limit
		for _, stmt := range n.List {
			if isBareAfter(f, stmt) {
				return stmt, "<-time.After as a sleep"
			}
		}
	}
	return nil, ""
}

func isBareAfter(f *file, stmt ast.Stmt) bool {
	expr, ok := stmt.(*ast.ExprStmt)
	if !ok {
		return false
	}
	recv, ok := expr.X.(*ast.UnaryExpr)
	if !ok || recv.Op != token.ARROW {
		return false
	}
	call, ok := recv.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	name, _ := f.uses(call.Fun, "time")
	return name == "After"
}

// bubbles knows which functions of a package's tests run in bubbles only.
type bubbles struct {
	c      checked
	makers map[types.Object]bool // functions that run those they are given in bubbles only
	in     map[types.Object]bool // functions that run in bubbles only
}

// collectMakers finds functions that call what they are given in bubbles, those
// first that do it by synctest.Test, then those that do it by others.
func (b *bubbles) collectMakers() {
	for before := -1; before != len(b.makers); {
		before = len(b.makers)
		for _, f := range b.c.files {
			given := map[types.Object]types.Object{} // functions given, and to which
			for _, d := range f.ast.Decls {
				if decl, ok := d.(*ast.FuncDecl); ok {
					b.addGiven(decl, given)
				}
			}
			used, awake := map[types.Object]bool{}, map[types.Object]bool{}
			b.walk(f, func(n ast.Node, _ types.Object, bubble bool) {
				id, ok := n.(*ast.Ident)
				if !ok {
					return
				}
				if maker := given[b.c.info.Uses[id]]; maker != nil {
					used[maker] = true
					awake[maker] = awake[maker] || !bubble
				}
			})
			for maker := range used {
				if !awake[maker] {
					b.makers[maker] = true
				}
			}
		}
	}
}

// addGiven adds the parameters of decl that are functions.
func (b *bubbles) addGiven(decl *ast.FuncDecl, given map[types.Object]types.Object) {
	for _, field := range decl.Type.Params.List {
		if _, ok := field.Type.(*ast.FuncType); ok {
			for _, name := range field.Names {
				if param := b.c.info.Defs[name]; param != nil {
					given[param] = b.c.info.Defs[decl.Name]
				}
			}
		}
	}
}

// makesBubble reports whether a call runs the functions among its arguments in
// a bubble.
func (b *bubbles) makesBubble(f *file, call *ast.CallExpr) bool {
	if name, _ := f.uses(call.Fun, "testing/synctest"); name == "Test" {
		return true
	}
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return b.makers[b.c.info.Uses[fun]]
	case *ast.SelectorExpr:
		return b.makers[b.c.info.Uses[fun.Sel]]
	}
	return false
}

// collect finds them: it begins with every function that is used at all and
// drops those with a use outside of a bubble until nothing changes.
func (b *bubbles) collect() {
	type use struct {
		of, by types.Object
		bubble bool
	}
	var all []use
	for _, f := range b.c.files {
		b.walk(f, func(n ast.Node, fn types.Object, bubble bool) {
			id, ok := n.(*ast.Ident)
			if !ok {
				return
			}
			if used, ok := b.c.info.Uses[id].(*types.Func); ok {
				all = append(all, use{used, fn, bubble})
				b.in[used] = true
			}
		})
	}
	for changed := true; changed; {
		changed = false
		for _, u := range all {
			if b.in[u.of] && !u.bubble && !b.in[u.by] {
				b.in[u.of], changed = false, true
			}
		}
	}
}

// walk calls fn for every node of f, with the declared function it is in and
// whether it is in the arguments of a call that makes a bubble.
func (b *bubbles) walk(f *file, fn func(n ast.Node, in types.Object, bubble bool)) {
	for _, d := range f.ast.Decls {
		var in types.Object
		if decl, ok := d.(*ast.FuncDecl); ok {
			in = b.c.info.Defs[decl.Name]
		}
		var bubbleEnds token.Pos
		ast.Inspect(d, func(n ast.Node) bool {
			if n == nil {
				return true
			}
			if call, ok := n.(*ast.CallExpr); ok && call.End() > bubbleEnds && b.makesBubble(f, call) {
				bubbleEnds = call.End()
			}
			fn(n, in, n.Pos() < bubbleEnds)
			return true
		})
	}
}
