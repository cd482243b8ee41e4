package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHouse holds this module to the rules.
func TestHouse(t *testing.T) {
	m, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if m.find("internal/archtest") == nil || m.find("") == nil {
		t.Fatal("the module was not read: it lacks packages that are certainly there")
	}
	for _, f := range Check(m) {
		t.Error(f)
	}
	for _, r := range house {
		if !strings.Contains(r.path, "*") && m.find(r.path) == nil {
			t.Errorf("%s is in the layer table and not in the module; remove it from internal/archtest/table.go and docs/architecture.md", title(r.path))
		}
	}
}

// TestPicture compares the layer table of the documentation with the one here.
func TestPicture(t *testing.T) {
	doc, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(line, "|")
		if layer, err := strconv.Atoi(strings.TrimSpace(cells[min(1, len(cells)-1)])); err == nil {
			name := strings.Trim(strings.Fields(cells[2])[0], "`")
			drawn[fmt.Sprint(layer, " ", strings.Replace(name, "...", "*", 1))] = true
		}
	}
	for _, r := range house {
		name := r.path
		if name == "" {
			name = "circuit"
		}
		if line := fmt.Sprint(r.layer, " ", name); !drawn[line] {
			t.Errorf("docs/architecture.md does not draw %s on layer %d", name, r.layer)
		} else {
			delete(drawn, line)
		}
	}
	for line := range drawn {
		t.Errorf("docs/architecture.md draws %q, which internal/archtest/table.go does not have", line)
	}
}

// TestRules plants in small modules what each rule must find, and beside it
// what it must let pass. A rule without a script is not known to work.
func TestRules(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			script, err := os.ReadFile(filepath.Join("testdata", r.name+".txt"))
			if err != nil {
				t.Fatalf("rule %s has no script that plants what it must find: %v", r.name, err)
			}
			fsys, want := parseScript(string(script))
			if len(want) == 0 {
				t.Fatal("the script expects nothing to be found")
			}
			m, err := Load(fsys)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range Check(m) {
				if f.Rule == r.name {
					got = append(got, f.String())
				}
			}
			compare(t, got, want)
		})
	}
}

// compare wants got and want to be the same lines, where a line wanted may stop
// early.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("not found: %s", want[i])
		case i >= len(want):
			t.Errorf("found, but not planted: %s", got[i])
		case !strings.HasPrefix(got[i], want[i]):
			t.Errorf("found %s\nwant  %s", got[i], want[i])
		}
	}
}

// parseScript takes a comment, then files, each after a line "-- name --", the
// last of them named want: one finding a line, in the order of Check.
func parseScript(script string) (fs.FS, []string) {
	fsys := fstest.MapFS{"go.mod": &fstest.MapFile{Data: []byte("module example.com/house\n")}}
	var want []string
	name := ""
	for line := range strings.Lines(script) {
		if next, ok := strings.CutPrefix(line, "-- "); ok {
			name = strings.TrimSuffix(strings.TrimSpace(next), " --")
			continue
		}
		switch {
		case name == "":
		case name == "want":
			if line = strings.TrimSpace(line); line != "" {
				want = append(want, line)
			}
		default:
			if fsys[name] == nil {
				fsys[name] = &fstest.MapFile{}
			}
			fsys[name].Data = append(fsys[name].Data, line...)
		}
	}
	return fsys, want
}

// TestScripts finds scripts that belong to no rule any more.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	known := map[string]bool{}
	for _, r := range rules() {
		known[r.name+".txt"] = true
	}
	for _, s := range scripts {
		if !known[filepath.Base(s)] {
			t.Errorf("%s belongs to no rule; remove it", s)
		}
	}
}
