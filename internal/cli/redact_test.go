package cli

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// aKey is the text of a key.
const aKey = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0czE"

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

// TestMangledKeyIsNotEchoed puts keys that are a character short or long where a
// key belongs, and where it does not, and wants the text nowhere.
func TestMangledKeyIsNotEchoed(t *testing.T) {
	for name, key := range map[string]string{"truncated": aKey[:42], "short": aKey[:30], "extended": aKey + "x"} {
		url := "circuit://" + key + "@127.0.0.1:1"
		file := filepath.Join(t.TempDir(), "url")
		if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			env  map[string]string
			args []string
		}{
			{nil, []string{key}},
			{nil, []string{url}},
			{nil, []string{"help", key}},
			{nil, []string{"ls", key}},
			{nil, []string{"ls", "/" + key}},
			{nil, []string{"ls", "/" + url}},
			{nil, []string{"peek", "-d", "127.0.0.1:1", nowhere + "/" + key}},
			{nil, []string{"mkchan", nowhere + "/q", key}},
			{nil, []string{"ls", "--" + key}},
			{nil, []string{"ls", "-o", key}},
			{nil, []string{"ls", "--timeout", url}},
			{nil, []string{"ls", "--key", key}},
			{nil, []string{"start", "--key", key}},
			{nil, []string{"start", "--limit", key}},
			{nil, []string{"start", "-a", url}},
			{nil, []string{"start", "--data", "/dev/null/" + key}},
			{nil, []string{"start", "--advertise", url, "-a", "127.0.0.1:0"}},
			{nil, []string{"ls", "-d", url}},
			{nil, []string{"ls", "-d", key}},
			{nil, []string{"ls", "-d", "@" + key}},
			{nil, []string{"ls", "-d", "@" + file}},
			{nil, []string{"start", "-j", url}},
			{nil, []string{"start", "-j", "@" + url}},
			{nil, []string{"start", "-j", "@" + file}},
			{nil, []string{"join", nowhere, url}},
			{map[string]string{"CIRCUIT": key}, []string{"ls"}},
			{map[string]string{"CIRCUIT": url}, []string{"ls"}},
			{map[string]string{"CIRCUIT": file}, []string{"ls"}},
			{map[string]string{"CIRCUIT": key + "@127.0.0.1:1"}, []string{"ls"}},
			{map[string]string{"CIRCUIT_KEY": key}, []string{"ls"}},
			{map[string]string{"CIRCUIT_KEY": key}, []string{"start"}},
		} {
			r := program{env: test.env}.run(test.args...)
			if said := r.stdout + r.stderr; r.code == 0 || r.stderr == "" || strings.Contains(said, key[:20]) {
				t.Errorf("%s: circuit %s with %v: exit code %d, said %q", name, strings.Join(test.args, " "), test.env, r.code, said)
			}
		}
		var said bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&errorWriter{w: &said}, nil))
		log.Warn("reached "+url, slog.String("key", key))
		if strings.Contains(said.String(), key[:20]) {
			t.Errorf("%s: the log says %s", name, &said)
		}
	}
}
