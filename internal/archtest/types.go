package archtest

import (
	"errors"
	"go/ast"
	"go/types"
	"strings"
)

// checked is what the type checker knows of one package and its tests in a
// build for one system. Packages from outside the module are opaque to it: the
// rules ask which declaration a name means, and hardly ever for its type.
type checked struct {
	pkg   *pkg
	info  *types.Info
	files []*file // those in the build
}

// systems are the operating systems whose builds are checked.
func systems() []func(*file) bool {
	return []func(*file) bool{
		func(f *file) bool { return f.linux },
		func(f *file) bool { return f.darwin },
	}
}

// eachChecked type-checks the module for each system and calls fn for each
// package, once together with its own tests and once for its external tests.
func (m *Module) eachChecked(fn func(checked)) {
	for _, in := range systems() {
		c := &checker{m: m, in: in, done: map[string]*types.Package{}}
		for _, p := range m.packages {
			inner, outer := c.split(p)
			if len(inner) > 0 {
				info, tested := c.check(p.path, inner)
				fn(checked{p, info, inner})
				if len(outer) > 0 {
					withTested := &checker{m: m, in: in, done: map[string]*types.Package{p.path: tested}}
					info, _ := withTested.check(p.path+"_test", outer)
					fn(checked{p, info, outer})
				}
			} else if len(outer) > 0 {
				info, _ := c.check(p.path+"_test", outer)
				fn(checked{p, info, outer})
			}
		}
	}
}

// checker type-checks packages of the module and remembers them for their
// importers.
type checker struct {
	m    *Module
	in   func(*file) bool
	done map[string]*types.Package // by path from the root, without tests
}

// split returns the files of p and its tests, and those of its external tests.
func (c *checker) split(p *pkg) (inner, outer []*file) {
	for _, f := range p.files {
		switch {
		case !c.in(f):
		case f.test && strings.HasSuffix(f.ast.Name.Name, "_test"):
			outer = append(outer, f)
		default:
			inner = append(inner, f)
		}
	}
	return inner, outer
}

// Import implements types.Importer. An error makes the type checker treat the
// package as one that has every name it is asked for.
func (c *checker) Import(imp string) (*types.Package, error) {
	own, ok := c.m.own(imp)
	if !ok {
		return nil, errors.New("not of this module")
	}
	if p, ok := c.done[own]; ok {
		return p, nil
	}
	c.done[own] = types.NewPackage(imp, "cycle") // in case of an import cycle, which the compiler reports
	p := c.m.find(own)
	if p == nil {
		delete(c.done, own)
		return nil, errors.New("no such package")
	}
	var files []*file
	for _, f := range p.files {
		if c.in(f) && !f.test {
			files = append(files, f)
		}
	}
	_, c.done[own] = c.check(own, files)
	return c.done[own], nil
}

func (c *checker) check(path string, files []*file) (*types.Info, *types.Package) {
	info := &types.Info{
		Defs: map[*ast.Ident]types.Object{},
		Uses: map[*ast.Ident]types.Object{},
		// Selections tell calls of methods that take their receiver's address.
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	conf := types.Config{Importer: c, Error: func(error) {}, FakeImportC: true}
	var trees []*ast.File
	for _, f := range files {
		trees = append(trees, f.ast)
	}
	full := c.m.path
	if path != "" {
		full += "/" + path
	}
	// Errors are expected where other modules are involved; the compiler
	// reports the real ones.
	p, _ := conf.Check(full, c.m.fset, trees, info)
	return info, p
}
