package circuit

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	const key = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0czE"
	for text, want := range map[string]string{
		"":                                 "",
		"circuit: ls /a: not found\n":      "circuit: ls /a: not found\n",
		key:                                "[key]",
		`"` + key + `" and /` + key + "\n": `"[key]" and /[key]` + "\n",
		key[:42] + " " + key[:30] + "@h":   "[key] [key]@h",
		key[:29]:                           key[:29],
		"x" + key:                          "[key]",
		"ü" + key + "ü":                    "ü[key]ü",
		"--" + key:                         "[key]",
		"a-long-name-of-a-job-that-says-all-there-is-to-know":  "a-long-name-of-a-job-that-says-all-there-is-to-know",
		"56e7a2a0-d47a-7b5d-9999-56e7a2a0d47a":                 "56e7a2a0-d47a-7b5d-9999-56e7a2a0d47a",
		strings.Repeat("_", 43) + "@h":                         "[key]@h",
		"circuit://a@h:1":                                      "circuit://[key]@h:1",
		`u="circuit://a+/b=@h:1/2/Q3", circuit://b@h then x@y`: `u="circuit://[key]@h:1/2/Q3", circuit://[key]@h then x@y`,
		"circuit://h:1 ://":                                    "circuit://h:1 ://",
	} {
		if got := Redact(text); got != want {
			t.Errorf("Redact(%q) is %q, want %q", text, got, want)
		}
	}
}
