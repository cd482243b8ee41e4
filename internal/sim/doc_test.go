package sim

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestRulesAreCited holds docs/overlay.md and the two machines together: every
// rule is cited where it is kept, and every citation is of a rule.
func TestRulesAreCited(t *testing.T) {
	doc, err := os.ReadFile("../../docs/overlay.md")
	if err != nil {
		t.Fatal(err)
	}
	cited := make(map[string]bool)
	citation := regexp.MustCompile(`rules?\s+(?://\s+)?[OM]\d[^.)]*`)
	rule := regexp.MustCompile(`[OM]\d+`)
	span := regexp.MustCompile(`([OM])(\d+) to [OM](\d+)`)
	for _, dir := range []string{"../overlay", "../membership"} {
		files, _ := filepath.Glob(dir + "/*.go")
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range citation.FindAllString(string(src), -1) {
				for _, r := range rule.FindAllString(c, -1) {
					cited[r] = true
				}
				if span.MatchString(c) {
					t.Errorf("%s: %q: name each rule", name, c)
				}
			}
		}
	}
	if len(cited) < 10 {
		t.Fatalf("only %d rules are cited", len(cited))
	}
	defined := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^\*\*([OM]\d+)\.`).FindAllStringSubmatch(string(doc), -1) {
		defined[m[1]] = true
		if !cited[m[1]] {
			t.Errorf("rule %s is cited nowhere", m[1])
		}
	}
	for r := range cited {
		if !defined[r] {
			t.Errorf("rule %s is cited, and not in docs/overlay.md", r)
		}
	}
}
