package archtest

import (
	"cmp"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// Hand-written files and functions have fewer lines than this.
const (
	maxFileLines = 500
	maxFuncLines = 70
)

func checkNames(m *Module, say report) {
	for _, p := range m.packages {
		for _, name := range []string{path.Base(p.path), p.files[0].ast.Name.Name} {
			if slices.Contains([]string{"util", "utils", "common", "kit", "misc", "helper", "helpers"}, name) {
				say(p.files[0].name, m.line(p.files[0].ast.Name), "a package named %s can hold anything; name it for what it provides", name)
				break
			}
		}
	}
}

func checkSize(m *Module, say report) {
	for _, p := range m.packages {
		for _, f := range p.files {
			if f.generated {
				continue
			}
			if f.lines >= maxFileLines {
				say(f.name, f.lines, "the file has %d lines; hand-written files stay under %d: split it by topic", f.lines, maxFileLines)
			}
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || f.test {
					continue
				}
				if n := m.fset.Position(fn.End()).Line - m.line(fn) + 1; n >= maxFuncLines {
					say(f.name, m.line(fn), "func %s has %d lines; functions stay under %d: give its parts names", fn.Name.Name, n, maxFuncLines)
				}
			}
		}
	}
}

// checkComment wants "Package name ..." before one package clause of every
// package, outside tests where there is something outside tests.
func checkComment(m *Module, say report) {
	for _, p := range m.packages {
		files := slices.DeleteFunc(slices.Clone(p.files), func(f *file) bool { return f.test })
		if len(files) == 0 {
			files = p.files
		}
		if slices.ContainsFunc(files, isPackageComment) {
			continue
		}
		f := files[0]
		say(f.name, m.line(f.ast.Name), `package %s has no package comment; begin one with "%s" and say its one job, who calls it and what it promises about concurrency`,
			f.ast.Name.Name, commentStarts(f)[0])
	}
}

func isPackageComment(f *file) bool {
	return slices.ContainsFunc(commentStarts(f), func(start string) bool {
		return strings.HasPrefix(f.ast.Doc.Text(), start+" ")
	})
}

// commentStarts are the ways in which a package's comment may begin: programs
// are called by their names, packages by "Package".
func commentStarts(f *file) []string {
	if name := f.ast.Name.Name; name != "main" {
		return []string{"Package " + name}
	}
	dir := path.Base(path.Dir(f.name))
	program := cmp.Or(strings.TrimLeft(dir, "0123456789-"), dir)
	return []string{"Command " + program, strings.ToUpper(program[:1]) + program[1:]}
}

// checkGenerated holds generated code and only that to the mark that tools go
// by: the mark excuses a file from other rules.
func checkGenerated(m *Module, say report) {
	for _, p := range m.packages {
		for _, f := range p.files {
			byName := strings.HasSuffix(f.name, ".pb.go")
			switch {
			case byName && !f.generated:
				say(f.name, 1, "generated code without its mark; run make generate, never edit it")
			case !byName && f.generated:
				say(f.name, 1, "the mark of generated code on a file that no generator of ours writes; remove the mark")
			}
		}
	}
}
