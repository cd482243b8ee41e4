package circuit_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
)

func TestParseCmd(t *testing.T) {
	got, err := circuit.ParseCmd([]byte("{\n\"Path\": \"/bin/ls\",\n\"Args\":[\"/\"]\n}\n"))
	if want := (circuit.Cmd{Path: "/bin/ls", Args: []string{"/"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the description's command: %#v, %v", got, err)
	}
	got, err = circuit.ParseCmd([]byte(`{"Path":"p","Env":[],"Dir":"/","Scrub":true,"Spool":"2GiB","Overflow":"drop"}`))
	if want := (circuit.Cmd{Path: "p", Env: []string{}, Dir: "/", Scrub: true, Spool: 2 << 30, Overflow: circuit.OverflowDrop}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("all fields: %#v, %v", got, err)
	}
	got, err = circuit.ParseCmd([]byte(`{"Path":"\\ud800","Args":["\ud83d\ude00\\\u00e9\ufffd\n"]}`))
	if want := (circuit.Cmd{Path: `\ud800`, Args: []string{"\U0001f600\\é\ufffd\n"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("escapes: %#v, %v", got, err)
	}
	for _, c := range []circuit.Cmd{{Path: "\xff"}, {Path: "p", Dir: "\xff"}, {Path: "p", Args: []string{"\xff"}}, {Path: "p", Env: []string{"A=\xff"}}} {
		if err := c.Validate(); !errors.Is(err, circuit.Invalid) || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%#v: %v", c, err)
		}
	}
	for in, names := range map[string]string{
		``: "empty", `{`: "too early", `[]`: "object", `{"Path":"p"} {}`: "after", `{"Path":"p"}x`: "after", `{"Path":"p","Arg":[]}`: `"Arg"`,
		`{"Args":["/"]}`: "Path", `{"Path":""}`: "Path", `{"Path":7}`: "Path", `{"Path":"p","Args":"/"}`: "Args", `{"Path":"p","Env":["A"]}`: `"A"`,
		`{"Path":"p","Env":["=A"]}`: `"=A"`, `{"Path":"p\u0000"}`: "NUL", `{"Path":"p","Args":["\u0000"]}`: "NUL", `{"Path":"p","Spool":"x"}`: `"x"`,
		`{"path":"p"}`: `"path"`, `{"Path":"p","Path":"q"}`: "twice", `{"Path":"p","Args":["Path","Path"],"ARGS":[]}`: `"ARGS"`,
		`{"Path":"p","Args":["a` + "\xff" + `"]}`: "Args is not valid UTF-8", `{"Path":"p","Env":["A=\ud800x"]}`: "Env is not valid UTF-8", `{"Path":"p","Dir":"\udc00"}`: "Dir",
		`{"Path":"\ud800\u0041"}`: "Path", `{"Path":"p","Args":["\ud83d\ud83d"]}`: "Args", `{"Path":"p","Args":["\\\ud800"]}`: "Args",
		`{"Path":"p","Spool":"0"}`: "Spool is 0", `{"Path":"p","Spool":0}`: "Spool is 0", `{"Path":"p","Spool":null}`: "Spool",
		"\xef\xbb\xbf{}": "byte order mark", `{"Path":"p" "Args":[]}`: `byte 13 with "\"Args`, strings.Repeat("[", 20_000): "byte 10001",
		`{"Path":"p","Spool":-1}`: "Spool", `{"Path":"p","Overflow":"spill"}`: "spill", `{"Path":"p",}`: "byte",
		`{"Path":"` + strings.Repeat("p", circuit.MaxCmdBytes) + `"}`: "longer",
	} {
		if c, err := circuit.ParseCmd([]byte(in)); !errors.Is(err, circuit.Invalid) || !strings.Contains(err.Error(), names) {
			t.Errorf("%.60s: %#v, %v; want an Invalid error that names %s", in, c, err, names)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]circuit.Size{"0": 0, "123": 123, "64MiB": 64 << 20, "2 GiB": 2 << 30, "500kB": 500_000, "1B": 1, "1TiB": 1 << 40} {
		got, err := circuit.ParseSize(in)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
		if back, err := circuit.ParseSize(got.String()); err != nil || back != got {
			t.Errorf("%q: its text %q gives %d, %v", in, got, back, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1.5GiB", "9223372036854775808", "9007199254740992KiB", "1XiB"} {
		if got, err := circuit.ParseSize(in); !errors.Is(err, circuit.Invalid) {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
}

func FuzzCmd(f *testing.F) {
	f.Add([]byte(`{"Path":"/bin/ls","Args":["/"]}`))
	f.Add([]byte(`{"Path":"p","Env":[],"Spool":"2GiB","Overflow":"drop","Scrub":true,"Dir":"/"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := circuit.ParseCmd(b)
		if err != nil {
			if !errors.Is(err, circuit.Invalid) {
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > circuit.MaxCmdBytes {
			return // escapes made it longer
		}
		if back, err := circuit.ParseCmd(text); err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%q is %#v, whose JSON %s gives %#v, %v", b, c, text, back, err)
		}
	})
}
