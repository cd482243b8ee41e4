package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/server"
)

// program is one run of Main in a test.
type program struct {
	stdin   io.Reader
	env     map[string]string
	signals chan os.Signal
}

// result is what became of a run.
type result struct {
	code           int
	stdout, stderr string
}

// run runs the program in an environment that has nothing but env.
func (p program) run(args ...string) result {
	var out, errs bytes.Buffer
	code := p.runTo(&out, &errs, args...)
	return result{code, out.String(), errs.String()}
}

func (p program) runTo(out, errs io.Writer, args ...string) int {
	if p.stdin == nil {
		p.stdin = strings.NewReader("")
	}
	return Main(context.Background(), Env{
		Args:       append([]string{}, args...),
		Stdin:      p.stdin,
		Stdout:     out,
		Stderr:     errs,
		Getenv:     func(name string) string { return p.env[name] },
		Signals:    p.signals,
		IsTerminal: func(any) bool { return false },
		Executable: "/nonexistent",
	})
}

// startServer runs a server in this process, for one test.
func startServer(t *testing.T, cfg server.Config) *server.Server {
	t.Helper()
	cfg.Addr, cfg.DialFiles = "127.0.0.1:0", t.TempDir()
	s, err := server.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

// circuitOf runs a server and returns a program that finds it in CIRCUIT, and
// the server's anchor.
func circuitOf(t *testing.T) (program, string) {
	t.Helper()
	s := startServer(t, server.Config{})
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(s.URL().Secret()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return program{env: map[string]string{"CIRCUIT": file}}, s.URL().ID.Path().String()
}

// with returns p with this standard input.
func (p program) with(stdin string) program {
	p.stdin = strings.NewReader(stdin)
	return p
}

// must runs the program and wants it to exit 0 and be silent on standard error.
func (p program) must(t *testing.T, args ...string) string {
	t.Helper()
	r := p.run(args...)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("circuit %s: exit code %d, standard error:\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// fails runs the program and wants this exit code and these words on standard
// error, in one line, and nothing on standard output.
func (p program) fails(t *testing.T, code int, words string, args ...string) {
	t.Helper()
	r := p.run(args...)
	if r.code != code || !strings.Contains(r.stderr, words) {
		t.Errorf("circuit %s: exit code %d, want %d, standard error %q, want %q in it", strings.Join(args, " "), r.code, code, r.stderr, words)
	}
	if strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "circuit: ") {
		t.Errorf("circuit %s: standard error is not one line of the program's: %q", strings.Join(args, " "), r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("circuit %s: standard output %q, want none", strings.Join(args, " "), r.stdout)
	}
}

const nowhere = "/X88550014d4c82e4d"

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args  string
		words string
	}{
		{"mkcha", "mkcha: there is no such command; did you mean mkchan?"},
		{"frobnicate", "frobnicate: there is no such command; see circuit help"},
		{"help frobnicate", "frobnicate: there is no such command"},
		{"--nonsense", "there is no flag --nonsense; see circuit help"},
		{"peek", "peek: expected PATH, got no arguments; see circuit help peek"},
		{"mkchan /a 1 2", "mkchan: expected PATH [CAP], got 3 arguments"},
		{"mkchan " + nowhere + "/a many", `CAP "many": expected a whole number`},
		{"mkchan " + nowhere + "/a -- -1", `CAP "-1": expected a whole number`},
		{"mkchan " + nowhere + "/a -1", "mkchan: there is no flag -1"},
		{"peek --nonsense /", "peek: there is no flag --nonsense; see circuit help peek"},
		{"peek -x /", "peek: there is no flag -x"},
		{"peek / -d", "peek: -d needs a value"},
		{"peek / --timeout", "peek: --timeout needs a value"},
		{"peek / --timeout soon", `peek: --timeout "soon": expected a length of time such as 500ms, 5s or 2m`},
		{"peek / --timeout -5s", `--timeout "-5s": expected a length of time`},
		{"peek / -o yaml", `peek: -o "yaml": expected text or json`},
		{"recv -n x " + nowhere, `recv: -n "x": expected a whole number`},
		{"recv -n -1 " + nowhere, `recv: -n "-1": expected a whole number`},
		{"stdout --offset -1 " + nowhere, `stdout: --offset "-1": expected a number of bytes`},
		{"stderr --offset 99999999999999999999 " + nowhere, `stderr: --offset "99999999999999999999": expected a number of bytes`},
		{"scrub --kill --grace soon " + nowhere, `scrub: --grace "soon": expected a length of time`},
		{"send --lines=perhaps " + nowhere, `send: --lines "perhaps": expected true or false`},
		{"-- ls", "ls: a command stands before --, not after it"},
		{"mkchan " + nowhere + "/a 2147483648", "expected a whole number from 0 to 2147483647"},
		{"peek nowhere", "peek nowhere: a path begins with /"},
		{"peek /nowhere", "peek /nowhere: "},
		{"ls /...x", "ls /...x: "},
		{"scrub --kill --abandon " + nowhere + "/a", "--kill and --abandon exclude each other"},
		{"scrub --grace 1s " + nowhere + "/a", "--grace goes with --kill"},
		{"recv --all -n 2 " + nowhere + "/a", "-n and --all exclude each other"},
		{"stk " + nowhere + "/a", "stk " + nowhere + "/a: expected the anchor of a server"},
		{"suicide /", "suicide /: expected the anchor of a server"},
		{"join " + nowhere + " http://x", ": not a circuit URL: the scheme is not circuit://"},
		{"ls -d http://x", "-d: not a circuit URL: the scheme is not circuit://"},
		{"ls -d http://x /", "circuit: -d: not a circuit URL: the scheme is not circuit://"},
		{"ls -d @/nonexistent/file", "-d: /nonexistent/file: no such file or directory"},
		{"ls -d -", "-d: there is no URL in the first line of standard input"},
		{"start -d 127.0.0.1:1", "start: -d names a server to dial, and start dials none"},
		{"start --timeout 1s", "start: there is no --timeout here"},
		{"start -j nonsense", "-j: not a circuit URL: expected HOST:PORT"},
		{"start --limit anchors", "start: a limit is set as NAME=VALUE, as in anchors=5000"},
		{"start --log-format xml", `start: --log-format "xml": expected text or json`},
		{"start -a nonsense", "start: the address to listen on is not HOST:PORT"},
		{"mkproc -o json " + nowhere + "/a", "mkproc: there is no -o here"},
		{"completion tcsh", `completion: "tcsh": expected bash, zsh, fish`},
		{"man --dir x ls", "man: --dir writes all pages; name no command"},
		{"man frobnicate", "frobnicate: there is no such command"},
	} {
		program{}.fails(t, exitUsage, test.words, strings.Fields(test.args)...)
	}
}

// TestNoElement asks for an element where there is a server, or the circuit.
func TestNoElement(t *testing.T) {
	p, x := circuitOf(t)
	p.fails(t, exitUsage, "the path is empty", "ls", "")
	p.fails(t, exitUsage, "only what a server hosts is scrubbed", "scrub", "/")
	for path, says := range map[string]string{"/": "holds nothing", x: "a server holds nothing itself; name something that it hosts"} {
		p.fails(t, exitNotFound, says, "recv", path)
		p.fails(t, exitNotFound, says, "signal", "TERM", path)
		p.fails(t, exitCircuit, says, "wait", path)
	}
	r := p.with(x + "/none\n").run("waitall")
	if r.code != exitSome || !strings.HasPrefix(r.stderr, "circuit: waitall "+x+"/none: ") {
		t.Errorf("waitall: exit code %d, standard error %q", r.code, r.stderr)
	}
}

// TestWaitUsage wants failures of wait that no process's own code can be taken
// for.
func TestWaitUsage(t *testing.T) {
	program{}.fails(t, exitCircuit, "wait: expected PATH, got no arguments", "wait")
	program{}.fails(t, exitCircuit, "there is no flag --nonsense", "wait", "--nonsense", nowhere)
	program{}.fails(t, exitCircuit, "a path begins with /", "wait", "x")
	program{}.fails(t, exitCircuit, "", "wait", "-d", "127.0.0.1:1", nowhere+"/a")
}

// TestKeyIsSecret gives the key wrongly in every place, and wants it nowhere in
// what the program says.
func TestKeyIsSecret(t *testing.T) {
	const key = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0czE"
	for _, args := range [][]string{
		{"ls", "-d", "circuit://" + key + "@nowhere"},
		{"ls", "-d", "circuit://" + key + "@127.0.0.1:1/1/X1"},
		{"ls", "-d", "http://" + key + "@127.0.0.1:1"},
		{"ls", "-d", "circuit://" + key + "@127.0.0.1:1/1/Q88550014d4c82e4d"},
		{"start", "-j", "circuit://" + key + "@nowhere"},
		{"join", nowhere, "circuit://" + key + "@nowhere"},
		{"join", nowhere, "x" + key},
	} {
		r := program{}.run(args...)
		if r.code == 0 || strings.Contains(r.stdout+r.stderr, key[:20]) {
			t.Errorf("circuit %s ...: exit code %d, said %q", args[0], r.code, r.stderr)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for kind, want := range map[circuit.ErrorKind]int{
		circuit.Internal: 1, circuit.NotFound: 3, circuit.Exists: 4, circuit.Invalid: 2,
		circuit.Unreachable: 5, circuit.Closed: 8, circuit.Denied: 6, circuit.Timeout: 124,
		circuit.Canceled: 130, circuit.Exhausted: 1, circuit.Lost: 1, circuit.Unsupported: 1,
	} {
		if got := errorCode(kind); got != want {
			t.Errorf("%v: exit code %d, want %d", kind, got, want)
		}
	}
}

// TestEmptyTextCountedAsNotGiven: a text that is given and empty, as of a variable
// that is not set, is a mistake.
func TestEmptyTextCountedAsNotGiven(t *testing.T) {
	for _, flag := range []string{"--key", "--data", "-a", "--advertise", "--if"} {
		program{}.fails(t, exitUsage, flag+" is empty", "start", flag, "")
	}
	program{}.fails(t, exitUsage, "--key is empty", "ls", "--key", "")
}
