package cli

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the golden files anew")

// commandTree returns the program's commands.
func commandTree() *cobra.Command { return (&app{}).rootCommand() }

// TestHelp compares all help texts with those kept.
func TestHelp(t *testing.T) {
	names := []string{"", "help", "flags", "codes"}
	for _, c := range commandTree().Commands() {
		names = append(names, c.Name())
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		args := []string{"help"}
		if name != "" {
			args = append(args, name)
		}
		golden(t, "help_"+name+".txt", program{}.must(t, args...))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what is printed; if that is as it should be, go test ./internal/cli -update\ngot:\n%s", file, got)
	}
}

func TestHelpFitsTheScreen(t *testing.T) {
	if text := (program{}).must(t, "help"); strings.Count(text, "\n") > 24 {
		t.Errorf("circuit help has %d lines", strings.Count(text, "\n"))
	}
	texts := map[string]string{"": rootHelp, "flags": flagsHelp, "codes": codesHelp}
	for _, c := range commandTree().Commands() {
		texts[c.Name()] = c.Long
	}
	for name, text := range texts {
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 || (n > 82 && !strings.HasPrefix(line, "  ")) {
				t.Errorf("circuit help %s: a line of %d columns: %s", name, n, line)
			}
			if strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") || strings.Contains(line, "\t") {
				t.Errorf("circuit help %s: blanks at the end, or a tab: %q", name, line)
			}
		}
	}
}

// TestHelpIsWhole wants each help to begin with two examples, and to name all of
// the command's own flags and no other.
func TestHelpIsWhole(t *testing.T) {
	flagPattern := regexp.MustCompile(`(?m)^  (?:-\w, )?(--?[a-z][a-z-]*)`)
	for _, c := range commandTree().Commands() {
		examples, _, _ := strings.Cut(c.Long, "\n\n")
		if !strings.Contains(examples, "circuit "+c.Name()) || strings.Count(examples, "\n  ") < 1 {
			t.Errorf("circuit help %s does not begin with two examples", c.Name())
		}
		if !strings.Contains(c.Long, "\nUsage: circuit "+c.Name()) {
			t.Errorf("circuit help %s does not say how to call it", c.Name())
		}
		known := map[string]bool{}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			known["--"+f.Name], known["-"+f.Shorthand] = true, true
			if !strings.Contains(c.Long, "  -"+f.Shorthand+" ") && !strings.Contains(c.Long, "  --"+f.Name+" ") {
				t.Errorf("circuit help %s does not explain --%s", c.Name(), f.Name)
			}
		})
		for _, m := range flagPattern.FindAllStringSubmatch(c.Long, -1) {
			if !known[m[1]] && m[1] != "--timeout" && m[1] != "--key" {
				t.Errorf("circuit help %s explains %s, which is no flag of it", c.Name(), m[1])
			}
		}
	}
}

// TestDocumentedLimits wants the figures of the documents to be those of circuit
// help start.
func TestDocumentedLimits(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, section, _ := strings.Cut(read("contract.md"), "\n## Limits\n")
	section, _, _ = strings.Cut(section, "\n## ")
	plain := strings.NewReplacer(",", "", " ", "")
	var documented, helped []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(section, -1) {
		documented = append(documented, m[1]+"="+plain.Replace(m[2]))
	}
	for line := range strings.Lines(limitsHelp()) {
		fields := strings.Fields(line)
		helped = append(helped, fields[0]+"="+fields[1])
	}
	if !slices.Equal(documented, helped) {
		t.Errorf("docs/contract.md has\n%q\ncircuit help start\n%q", documented, helped)
	}
	m := regexp.MustCompile("([0-9,]+) at once \\(`--limit handshakes`\\)").FindStringSubmatch(read("security.md"))
	if m == nil || !slices.Contains(helped, "handshakes="+plain.Replace(m[1])) {
		t.Errorf("docs/security.md has %q handshakes", m)
	}
}

// TestShorthands wants -d to mean the same everywhere.
func TestShorthands(t *testing.T) {
	root := commandTree()
	if f := root.PersistentFlags().ShorthandLookup("d"); f == nil || f.Name != "dial" {
		t.Fatal("-d is not --dial")
	}
	for _, c := range root.Commands() {
		if c.LocalNonPersistentFlags().ShorthandLookup("d") != nil {
			t.Errorf("circuit %s has a -d of its own", c.Name())
		}
	}
}

func TestHelpFlag(t *testing.T) {
	for _, args := range [][]string{{"mkproc", "--help"}, {"help", "mkproc"}, {"mkproc", "-h", "/x"}} {
		if got := (program{}).must(t, args...); got != (program{}).must(t, "help", "mkproc") {
			t.Errorf("circuit %s: %q", strings.Join(args, " "), got)
		}
	}
	if got := (program{}).must(t); got != rootHelp {
		t.Errorf("circuit alone prints %q", got)
	}
}

func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	program{}.must(t, "man", "--dir", dir)
	for _, c := range commandTree().Commands() {
		name := "circuit-" + c.Name() + ".1"
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.HasPrefix(string(b), ".TH CIRCUIT\\-") && !strings.HasPrefix(string(b), ".TH CIRCUIT-") {
			t.Errorf("%s begins with %.30q", name, b)
		}
	}
	page := program{}.must(t, "man", "mkproc")
	for line := range strings.Lines(page) {
		if (line[0] == '.' || line[0] == '\'') && !regexp.MustCompile(`^\.(TH|SH|nf|fi|BR)\b`).MatchString(line) {
			t.Errorf("text that the man macros would take for a request: %q", line)
		}
	}
	golden(t, "man_mkproc.1", page)
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if s := (program{}).must(t, "completion", shell); !strings.Contains(s, "__complete") {
			t.Errorf("the script for %s does not ask the program", shell)
		}
	}
}
