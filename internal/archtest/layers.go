package archtest

import (
	"path"
	"slices"
	"strings"
)

func checkTable(m *Module, say report) {
	for _, p := range m.packages {
		if _, ok := roomOf(p.path); !ok {
			say(p.files[0].name, 1, "%s is not in the layer table; decide its layer and add it to internal/archtest/table.go and docs/architecture.md", title(p.path))
		}
	}
}

// eachImport calls fn for every import outside tests and generated code.
func (m *Module) eachImport(fn func(p *pkg, f *file, i imported)) {
	for _, p := range m.packages {
		for _, f := range p.files {
			if f.test {
				continue
			}
			for _, i := range f.imports {
				fn(p, f, i)
			}
		}
	}
}

func checkLayers(m *Module, say report) {
	m.eachImport(func(p *pkg, f *file, i imported) {
		to, ok := m.own(i.path)
		if !ok {
			return
		}
		from, known := roomOf(p.path)
		target, targetKnown := roomOf(to)
		if !known || !targetKnown {
			return // said by the rule table
		}
		switch {
		case target.test && !from.test:
			say(f.name, i.line, "%s is for tests and must not be imported by %s; move what is needed to where it belongs", title(to), title(p.path))
		case target.layer >= from.layer:
			say(f.name, i.line, "%s (layer %d) imports %s (layer %d); imports go to lower layers: take it as an argument, or move the line to the room it is about",
				title(p.path), from.layer, title(to), target.layer)
		}
	})
}

func checkMeet(m *Module, say report) {
	m.eachImport(func(p *pkg, f *file, i imported) {
		if to, ok := m.own(i.path); ok && isService(to) && p.path != "internal/server" {
			say(f.name, i.line, "%s imports %s; router, mesh, access and elements meet only in internal/server, through plain functions", title(p.path), to)
		}
	})
}

func checkDependencies(m *Module, say report) {
	for _, p := range m.packages {
		for _, f := range p.files {
			for _, i := range f.imports {
				if _, own := m.own(i.path); own || isStandard(i.path) {
					continue
				}
				d, ok := dependencyOf(i.path)
				switch r, _ := roomOf(p.path); {
				case !ok:
					say(f.name, i.line, "%s is no dependency that was chosen; do without it, or add it to internal/archtest/table.go and docs/architecture.md with the reason", i.path)
				case !f.test && !r.test && !d.allows(p.path):
					say(f.name, i.line, "%s must not use %s; leave that to %s", title(p.path), d.module, usersOf(d))
				}
			}
		}
	}
}

func usersOf(d dependency) string {
	if d.users == nil {
		return "tests"
	}
	return strings.Join(d.users, ", ")
}

// isStandard reports whether an import path is of the standard library: those
// have no dot in their first element.
func isStandard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

// checkClient follows the imports of package client through this module.
func checkClient(m *Module, say report) {
	const start = "client"
	if m.find(start) == nil {
		return
	}
	way := map[string]string{start: start} // how each package was reached
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		p := m.find(queue[0])
		if p == nil {
			continue
		}
		for _, f := range p.files {
			if f.test {
				continue
			}
			for _, i := range f.imports {
				to, own := m.own(i.path)
				switch {
				case own && (to == "internal/server" || isService(to)):
					say(f.name, i.line, "package client reaches %s (%s); a client must not carry what serves", to, way[p.path])
				case i.path == "os/exec":
					say(f.name, i.line, "package client reaches os/exec (%s); a client must not be able to run programs", way[p.path])
				case i.path == "net/http":
					say(f.name, i.line, "package client reaches net/http (%s); only grpc may", way[p.path])
				case own && way[to] == "":
					way[to] = way[p.path] + " -> " + title(to)
					queue = append(queue, to)
				}
			}
		}
	}
}

// checkCLI holds the command line to package client, but for the commands that
// are servers or make keys.
func checkCLI(m *Module, say report) {
	m.eachImport(func(p *pkg, f *file, i imported) {
		to, own := m.own(i.path)
		if !own || to == "client" || p.path != "internal/cli" {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimSuffix(path.Base(f.name), ".go"), "_")
		if !slices.Contains([]string{"start", "demo", "keygen"}, verb) {
			say(f.name, i.line, "the command line imports %s; only start, demo and keygen may, the others use package client (let it re-export what is missing)", title(to))
		}
	})
}
