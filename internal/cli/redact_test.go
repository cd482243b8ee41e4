package cli

import (
	"strings"
	"testing"
)

// aKey is the text of a key.
const aKey = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0czE"

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"circuit: ls /a: not found\n":        "circuit: ls /a: not found\n",
		aKey:                                 "[key]",
		`"` + aKey + `" and /` + aKey + "\n": `"[key]" and /[key]` + "\n",
		aKey[:42] + " " + aKey[:42] + "@h":   aKey[:42] + " " + aKey[:42] + "@h",
		"x" + aKey:                           "x" + aKey,
		"x" + aKey + "@h:1":                  "[key]@h:1",
		strings.Repeat("_", 43):              strings.Repeat("_", 43), // no key
		strings.Repeat("_", 43) + "@h":       "[key]@h",
		"ü" + aKey + "ü":                     "ü[key]ü",
	} {
		if got := redact(text); got != want {
			t.Errorf("redact(%q) is %q, want %q", text, got, want)
		}
	}
}

// TestKeyIsNotEchoed puts a key where it does not belong, and wants to be told so
// without it.
func TestKeyIsNotEchoed(t *testing.T) {
	url := "circuit://" + aKey + "@h:1"
	for _, test := range []struct {
		env   map[string]string
		args  string
		words string
	}{
		{map[string]string{"CIRCUIT_KEY": aKey}, "ls /", "CIRCUIT_KEY must name a file that holds the key, not hold the key itself"},
		{map[string]string{"CIRCUIT_KEY": aKey}, "start", "CIRCUIT_KEY must name a file that holds the key, not hold the key itself"},
		{nil, "ls --key " + aKey, "--key must name a file that holds the key, not hold the key itself"},
		{nil, "start --key " + aKey, "--key must name a file that holds the key, not hold the key itself"},
		{map[string]string{"CIRCUIT": "x" + aKey + "@127.0.0.1:9"}, "ls", "CIRCUIT is neither a file"},
		{map[string]string{"CIRCUIT": aKey}, "ls", "CIRCUIT is neither a file"},
		{map[string]string{"CIRCUIT": "short@127.0.0.1:9"}, "ls", "CIRCUIT is neither a file"},
		{nil, "start -a " + url, "HOST:PORT"},
		{nil, "start --limit " + url, "NAME=VALUE"},
		{nil, "start --log-format " + url, "expected text or json"},
		{nil, url, "there is no such command"},
		{nil, "help " + url, "there is no such command"},
		{nil, "ls " + url, "a path begins with /"},
		{nil, "ls /" + url, ""},
		{nil, "ls --" + aKey, "there is no flag"},
		{nil, "recv -n " + url + " /X", "expected a whole number"},
		{nil, "mkchan /X " + url, "expected a whole number"},
		{nil, "ls -d @" + url, "no such file"},
	} {
		r := program{env: test.env}.run(strings.Fields(test.args)...)
		if strings.Contains(r.stdout+r.stderr, aKey[:20]) {
			t.Errorf("circuit %s with %v tells the key: %s%s", test.args, test.env, r.stdout, r.stderr)
		}
		if r.code != exitUsage || !strings.Contains(r.stderr, test.words) || strings.Contains(r.stderr, "short@") {
			t.Errorf("circuit %s with %v: exit code %d, standard error %q, want %q in it", test.args, test.env, r.code, r.stderr, test.words)
		}
	}
}
