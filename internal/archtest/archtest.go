// Package archtest keeps the picture in docs/architecture.md true: it reads the
// module's own source and reports every place that breaks one of the house's
// rules, with the file and line, the rule, and what to do instead.
//
// Its test runs it on this module, so that "go test ./..." enforces the rules;
// nothing else calls it. It reads files, keeps no state and starts no
// goroutine; one Module may be checked from several goroutines.
package archtest

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is one place that breaks a rule.
type Finding struct {
	File string // slash-separated, from the module's root
	Line int    // from 1; 0 where the finding concerns the whole file
	Rule string // name of the rule
	Text string // what is wrong and what to do
}

// String returns "file:line: rule: text".
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Text)
}

// rule is one of the house's rules and how to find what breaks it.
type rule struct {
	name  string
	why   string // one sentence, for the documentation of the rule
	check func(*Module, report)
}

// report records one finding of the rule that is being checked.
type report func(file string, line int, format string, args ...any)

// rules returns all rules. Each has a script in testdata, named for it, that
// plants what it must find.
func rules() []rule {
	return []rule{
		{"table", "every package has a place in the picture", checkTable},
		{"layers", "imports go down, so that a room can be understood without those above it", checkLayers},
		{"meet", "services know nothing of one another; they meet in internal/server", checkMeet},
		{"dependencies", "a dependency is used where it was chosen for, and tests' tools stay in tests", checkDependencies},
		{"client", "programs that import package client get a client and nothing that runs processes or serves", checkClient},
		{"cli", "the command line is built on package client, as any user's program would be", checkCLI},
		{"pure", "pure packages are told the time and given their randomness, so that a seed repeats a run", checkPure},
		{"init", "importing a package does nothing", checkInit},
		{"vars", "no state outside of values that somebody owns", checkVars},
		{"names", "a package is named for what it provides", checkNames},
		{"size", "a file has one topic, a function one thought", checkSize},
		{"comment", "every package says its one job, who calls it and what it promises about concurrency", checkComment},
		{"generated", "what is generated says so, and nothing else does", checkGenerated},
		{"sleep", "a test that sleeps is slow or flaky", checkSleep},
		{"proto", "the wire is public, so every method of it is documented", checkProto},
	}
}

// Check returns what breaks the rules in m, in the order of files and lines.
func Check(m *Module) []Finding {
	var found []Finding
	for _, r := range rules() {
		r.check(m, func(file string, line int, format string, args ...any) {
			found = append(found, Finding{File: file, Line: line, Rule: r.name, Text: fmt.Sprintf(format, args...)})
		})
	}
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(found)
}
