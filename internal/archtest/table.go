package archtest

import (
	"path"
	"strings"
)

// room is a package, or a family of packages, of the house.
type room struct {
	path  string // from the module's root, "" for the root itself; "*" stands for one name
	layer int    // a package imports packages of lower layers only
	test  bool   // for tests only: nothing but tests imports it
}

// house is the layer table of docs/architecture.md. A new package needs a line
// here and a line there.
var house = []room{
	{path: "", layer: 0},

	{path: "internal/directory", layer: 1},
	{path: "internal/graph", layer: 1},
	{path: "internal/spool", layer: 1},
	{path: "internal/dialfile", layer: 1},
	{path: "internal/credential", layer: 1},
	{path: "api/circuit/v1", layer: 1},

	{path: "internal/overlay", layer: 2},
	{path: "internal/membership", layer: 2},
	{path: "internal/transport", layer: 2},
	{path: "internal/rpc", layer: 2},

	{path: "internal/anchor", layer: 3},
	{path: "internal/access", layer: 3},
	{path: "internal/mesh", layer: 3},
	{path: "internal/router", layer: 3},
	{path: "internal/sim", layer: 3, test: true},

	{path: "internal/element/proc", layer: 4},
	{path: "internal/element/channel", layer: 4},
	{path: "internal/element/subscription", layer: 4},
	{path: "internal/element/server", layer: 4},

	{path: "internal/server", layer: 5},
	{path: "client", layer: 5},

	{path: "internal/cli", layer: 6},
	{path: "client/tutorial/circuittest", layer: 6, test: true},
	{path: "client/tutorial/*", layer: 6},

	{path: "cmd/circuit", layer: 7},

	{path: "internal/archtest", layer: 8, test: true},
	{path: "test", layer: 8, test: true},
}

// roomOf returns the line of the table for a package.
func roomOf(pkg string) (room, bool) {
	for _, r := range house {
		if ok, err := path.Match(r.path, pkg); ok && err == nil {
			return r, true
		}
	}
	return room{}, false
}

// isPure reports whether a package is one of the pure ones.
func isPure(pkg string) bool {
	return pkg == "" || pkg == "internal/directory" || pkg == "internal/overlay" || pkg == "internal/membership" || pkg == "internal/graph"
}

// isService reports whether a package meets its like in internal/server only.
func isService(pkg string) bool {
	return pkg == "internal/router" || pkg == "internal/mesh" || pkg == "internal/access" ||
		strings.HasPrefix(pkg, "internal/element/")
}

// dependency is a module that ours uses.
type dependency struct {
	module string
	users  []string // packages that may import it outside tests, "*" as in path.Match; nil: tests only
}

// pureEncoding is the one package from outside the standard library that pure
// packages may use: it turns numbers into bytes and back.
const pureEncoding = "google.golang.org/protobuf/encoding/protowire"

// dependencies are the modules that ours may use, and where.
var dependencies = []dependency{
	{"google.golang.org/grpc", []string{
		"api/circuit/v1", "internal/transport", "internal/rpc", "internal/mesh", "internal/router", "internal/access",
		"internal/anchor", "internal/element/*", "internal/server", "client"}},
	{pureEncoding, []string{"internal/overlay", "internal/membership", "internal/rpc"}}, // before the module that it is of
	{"google.golang.org/protobuf", []string{
		"api/circuit/v1", "internal/transport", "internal/rpc", "internal/mesh", "internal/router", "internal/access",
		"internal/anchor", "internal/element/*", "internal/server", "client"}},
	{"github.com/spf13/cobra", []string{"internal/cli"}},
	{"github.com/spf13/pflag", []string{"internal/cli"}},
	{"golang.org/x/sys", []string{"internal/transport", "internal/spool", "internal/element/proc", "internal/server", "internal/cli"}},
	{"golang.org/x/term", []string{"internal/cli", "cmd/circuit"}},
	{"github.com/rogpeppe/go-internal", nil},
	{"github.com/cockroachdb/datadriven", nil},
	{"pgregory.net/rapid", nil},
	{"github.com/anishathalye/porcupine", nil},
}

// dependencyOf returns the line of the table for an import path.
func dependencyOf(imp string) (dependency, bool) {
	for _, d := range dependencies {
		if imp == d.module || strings.HasPrefix(imp, d.module+"/") {
			return d, true
		}
	}
	return dependency{}, false
}

// allows reports whether pkg may import the module outside tests.
func (d dependency) allows(pkg string) bool {
	for _, u := range d.users {
		if ok, err := path.Match(u, pkg); ok && err == nil {
			return true
		}
	}
	return false
}
