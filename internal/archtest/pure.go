package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// impure are the packages of the standard library, each with what is below it,
// that a pure package does without.
var impure = []string{
	"net", "os", "log", "sync", "syscall", "runtime", "plugin", "unsafe", "C", "crypto/rand", "testing", "io/ioutil", "embed", "expvar", "database", "path/filepath",
}

// stillPure are exceptions from impure.
var stillPure = []string{"net/netip", "net/url"}

// pureFuncs are the functions of packages that pure packages may use otherwise.
// A package's list holds what must not be used, or, after "only", what alone
// may be.
var pureFuncs = map[string][]string{
	"time":         {"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"},
	"context":      {"Background", "TODO", "WithCancel", "WithCancelCause", "WithDeadline", "WithDeadlineCause", "WithTimeout", "WithTimeoutCause", "AfterFunc"},
	"hash/maphash": {"MakeSeed", "Bytes", "String", "Comparable"},
	"math/rand":    {"only", "Rand", "Source", "Source64", "Zipf", "New", "NewSource", "NewZipf"},
	"math/rand/v2": {"only", "Rand", "Source", "PCG", "ChaCha8", "Zipf", "New", "NewPCG", "NewChaCha8", "NewZipf"},
}

func checkPure(m *Module, say report) {
	for _, p := range m.packages {
		if !isPure(p.path) {
			continue
		}
		for _, f := range p.files {
			if !f.test {
				checkPureFile(m, f, say)
			}
		}
	}
}

func checkPureFile(m *Module, f *file, say report) {
	for _, i := range f.imports {
		if isImpure(i.path) {
			say(f.name, i.line, "a pure package imports %s; let the driver do it and pass in what is needed", i.path)
		}
		if _, own := m.own(i.path); !own && !isStandard(i.path) && i.path != pureEncoding {
			say(f.name, i.line, "a pure package imports %s; it needs nothing but the standard library and the words", i.path)
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if what := impureSyntax(n); what != "" {
			say(f.name, m.line(n), "a pure package has %s; it is one state machine that its caller steps", what)
		}
		for imp, funcs := range pureFuncs {
			name, ok := f.uses(n, imp)
			if !ok {
				continue
			}
			allowed := !slices.Contains(funcs, name)
			if funcs[0] == "only" {
				allowed = slices.Contains(funcs[1:], name)
			}
			if !allowed {
				say(f.name, m.line(n), "a pure package uses %s.%s; take the time and the randomness as arguments", imp, name)
			}
		}
		return true
	})
}

func isImpure(imp string) bool {
	if slices.Contains(stillPure, imp) {
		return false
	}
	return slices.ContainsFunc(impure, func(p string) bool { return imp == p || strings.HasPrefix(imp, p+"/") })
}

// impureSyntax names the piece of concurrency that n is, or "".
func impureSyntax(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a go statement"
	case *ast.ChanType:
		return "a channel type"
	case *ast.SelectStmt:
		return "a select"
	case *ast.SendStmt:
		return "a send to a channel"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "a receive from a channel"
		}
	}
	return ""
}
