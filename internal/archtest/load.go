package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the parsed source of a Go module: all its Go files, those for
// other systems and for tests included, and its .proto files. Directories with
// a go.mod of their own, testdata, and hidden ones are no part of it.
type Module struct {
	path     string // as in go.mod
	fset     *token.FileSet
	packages []*pkg // in order of path
	protos   []textFile
}

// pkg is one directory with Go files.
type pkg struct {
	path  string // directory, from the module's root; "" is the root
	files []*file
}

// file is one Go file.
type file struct {
	name      string // from the module's root
	test      bool   // its name ends in _test.go
	generated bool   // it carries the mark of generated code
	lines     int
	linux     bool // it is part of a build for Linux
	darwin    bool // it is part of a build for Darwin
	ast       *ast.File
	imports   []imported
}

// imported is one import of a file.
type imported struct {
	path string
	name string // by which the file knows it, a guess where it is not given
	line int
}

type textFile struct {
	name string
	text string
}

// Load reads the module whose root is fsys.
func Load(fsys fs.FS) (*Module, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, err
	}
	m := &Module{path: modulePath(mod), fset: token.NewFileSet()}
	if m.path == "" {
		return nil, fmt.Errorf("go.mod has no module line")
	}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && skipped(fsys, name):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case strings.HasSuffix(name, ".go"):
			return m.addGo(fsys, name)
		case strings.HasSuffix(name, ".proto"):
			text, err := fs.ReadFile(fsys, name)
			m.protos = append(m.protos, textFile{name, string(text)})
			return err
		}
		return nil
	})
	return m, err
}

func modulePath(mod []byte) string {
	for line := range strings.Lines(string(mod)) {
		if rest, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// skipped reports whether a directory is no part of the module's packages.
func skipped(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

func (m *Module) addGo(fsys fs.FS, name string) error {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	tree, err := parser.ParseFile(m.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	f := &file{
		name:      name,
		test:      strings.HasSuffix(name, "_test.go"),
		generated: ast.IsGenerated(tree),
		lines:     bytes.Count(src, []byte("\n")),
		ast:       tree,
		imports:   m.importsOf(tree),
	}
	if f.linux, err = builtFor("linux", name, src); err != nil {
		return err
	}
	if f.darwin, err = builtFor("darwin", name, src); err != nil {
		return err
	}
	dir := path.Dir(name)
	if dir == "." {
		dir = ""
	}
	i, ok := slices.BinarySearchFunc(m.packages, dir, func(p *pkg, dir string) int { return strings.Compare(p.path, dir) })
	if !ok {
		m.packages = slices.Insert(m.packages, i, &pkg{path: dir})
	}
	m.packages[i].files = append(m.packages[i].files, f)
	return nil
}

// builtFor reports whether a file is part of a build for a system.
func builtFor(goos, name string, src []byte) (bool, error) {
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = goos, "amd64", false
	ctx.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(src)), nil }
	return ctx.MatchFile(path.Dir(name), path.Base(name))
}

func (m *Module) importsOf(tree *ast.File) []imported {
	var list []imported
	for _, spec := range tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused such a file
		}
		name := guessName(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		list = append(list, imported{path: p, name: name, line: m.line(spec)})
	}
	return list
}

// guessName guesses the name of a package from its import path.
func guessName(imp string) string {
	base := path.Base(imp)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(imp))
	}
	return base
}

func (m *Module) line(n ast.Node) int { return m.fset.Position(n.Pos()).Line }

// own returns the path of a package of this module from its root.
func (m *Module) own(imp string) (string, bool) {
	if imp == m.path {
		return "", true
	}
	return strings.CutPrefix(imp, m.path+"/")
}

// find returns a package by its path from the module's root, or nil.
func (m *Module) find(path string) *pkg {
	for _, p := range m.packages {
		if p.path == path {
			return p
		}
	}
	return nil
}

// title names a package in a message.
func title(pkg string) string {
	if pkg == "" {
		return "the root package"
	}
	return pkg
}

// knownAs returns the names by which f knows a package, none if it does not
// import it.
func (f *file) knownAs(imp string) []string {
	var names []string
	for _, i := range f.imports {
		if i.path == imp {
			names = append(names, i.name)
		}
	}
	return names
}

// uses returns what n selects from a package, as "Now" for time.Now, if n is
// such a selection.
func (f *file) uses(n ast.Node, imp string) (string, bool) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok || !slices.Contains(f.knownAs(imp), x.Name) {
		return "", false
	}
	return sel.Sel.Name, true
}
