package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/server"
)

// TestProcess takes a process through its life by the command line.
func TestProcess(t *testing.T) {
	p, x := circuitOf(t)
	const cmd = `{"Path":"sh","Args":["-c","cat; echo bad >&2; exit 7"]}`
	if out := p.with(cmd).must(t, "mkproc", x+"/a"); out != "" {
		t.Errorf("mkproc printed %q", out)
	}
	p.with(cmd).fails(t, exitTaken, "circuit: mkproc "+x+"/a: there is already a proc here; scrub it first", "mkproc", x+"/a")
	p.fails(t, exitTaken, "--kill", "scrub", x+"/a")
	wantMatch(t, p.must(t, "peek", x+"/a"), `^{\n\t"Cmd": {\n\t\t"Env": null,\n(?s:.*)\t},\n\t"Exit": null,\n\t"Phase": "running",\n\t"Pid": \d+,\n`)
	wantMatch(t, p.must(t, "ls", "-l", x+"/..."), `^proc running +`+x+`/a\n$`)
	p.with("in\n").must(t, "stdin", x+"/a")
	if out := p.must(t, "stdout", x+"/a"); out != "in\n" {
		t.Errorf("stdout printed %q", out)
	}
	if out := p.must(t, "stderr", "--offset", "1", x+"/a"); out != "ad\n" {
		t.Errorf("stderr printed %q", out)
	}
	r := p.run("wait", "-o", "json", x+"/a")
	if r.code != 7 || r.stderr != "" {
		t.Errorf("wait: exit code %d, standard error %q", r.code, r.stderr)
	}
	wantMatch(t, r.stdout, `^{"Cmd":{.*},"Exit":"exit status 7","Phase":"exited",.*}\n$`)
	r = p.with(x + "/a\nproc " + x + "/a\n\nnonsense\n").run("waitall")
	if r.code != exitSome || strings.Count(r.stderr, x+"/a: exit status 7\n") != 2 || !strings.Contains(r.stderr, "nonsense: is no path") {
		t.Errorf("waitall: exit code %d, standard error %q", r.code, r.stderr)
	}
	r = p.with(x+"/a\n").run("waitall", "-o", "json")
	wantMatch(t, r.stdout, `^{"Path":"`+x+`/a","Cmd":{.*"Exit":"exit status 7".*}\n$`)
	p.fails(t, exitClosed, "signal "+x+"/a: ", "signal", "TERM", x+"/a")
	p.must(t, "scrub", x+"/a")
	p.fails(t, exitNotFound, "peek "+x+"/a: ", "peek", x+"/a")
	if out := p.must(t, "ls", x); out != "" {
		t.Errorf("ls printed %q", out)
	}
}

// TestChannel takes a channel through its life by the command line.
func TestChannel(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/this/is/charlie"
	p.must(t, "mkchan", c, "3")
	wantMatch(t, p.must(t, "peek", c), `^{\n\t"Cap": 3,\n\t"Closed": false,\n\t"Aborted": false,\n\t"NumSend": 0,\n\t"NumRecv": 0,\n`)
	p.with("a\nb").must(t, "send", "--lines", c)
	p.with("").must(t, "send", c)
	if out := p.must(t, "recv", c); out != "a\n" {
		t.Errorf("recv printed %q", out)
	}
	p.must(t, "close", c)
	p.with("x").fails(t, exitClosed, "send "+c+": ", "send", c)
	if out := p.must(t, "recv", "--all", "-o", "json", c); out != `{"Redelivered":false,"Data":"Yg=="}`+"\n"+`{"Redelivered":false,"Data":""}`+"\n" {
		t.Errorf("recv --all printed %q", out)
	}
	p.fails(t, exitClosed, "recv "+c+": ", "recv", c)
	p.fails(t, exitClosed, "close "+c+": ", "close", c)
	p.must(t, "scrub", c)
	p.fails(t, exitNotFound, "recv "+c+": ", "recv", c)
	p.must(t, "mkchan", c)
	p.fails(t, exitTimeout, "circuit: recv "+c+": gave up after 100ms, as --timeout says", "recv", "--timeout", "100ms", c)
}

func TestServer(t *testing.T) {
	p, x := circuitOf(t)
	wantMatch(t, p.must(t, "peek", x), `^{\n\t"ID": "`+x[1:]+`",\n\t"Address": "127\.0\.0\.1:\d+",\n`)
	wantMatch(t, p.must(t, "peek", "-o", "json", x), `^{"ID":"`+x[1:]+`",.*}\n$`)
	wantMatch(t, p.must(t, "stk", x), `^goroutine `)
	wantMatch(t, p.must(t, "stk", "-o", "json", x), `^{"Stacks":"goroutine .*"}\n$`)
	wantMatch(t, p.must(t, "ls"), `^---- `+x+`\n$`)
	wantMatch(t, p.must(t, "ls", "-o", "json", "/..."), `^{"Path":"`+x+`","Kind":"".*}\n$`)
	p.fails(t, exitNotFound, "peek "+nowhere+"/a: ", "peek", nowhere+"/a")
	p.fails(t, exitNotFound, "peek /: ", "peek", "/")
}

// TestDialIn gives the dial-in server in every way.
func TestDialIn(t *testing.T) {
	p, x := circuitOf(t)
	file := p.env["CIRCUIT"]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(string(b))
	want := "---- " + x + "\n"
	for _, args := range [][]string{
		{"ls", "-d", url}, {"-d", url, "ls"}, {"ls", "-d" + url, "/"}, {"ls", "/", "--dial", url}, {"ls", "-d", "@" + file},
		{"-d=" + url, "ls"}, {"ls", "-d", "127.0.0.1:1", "-d", url},
	} {
		if got := (program{}).must(t, args...); got != want {
			t.Errorf("circuit %q printed %q", args, got)
		}
	}
	if got := (program{env: map[string]string{"CIRCUIT": url}}).must(t, "ls"); got != want {
		t.Errorf("CIRCUIT as a URL: %q", got)
	}
	// From the first line of standard input, whose rest is the command's.
	program{}.with(url+"\n"+`{"Path":"true"}`).must(t, "mkproc", "-d", "-", x+"/a")
	if r := (program{env: p.env}).run("wait", x+"/a"); r.code != 0 {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}

// TestKeys gives the key in every way, right and wrong.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	right, wrong := filepath.Join(dir, "right"), filepath.Join(dir, "wrong")
	program{}.must(t, "keygen", right)
	program{}.must(t, "keygen", wrong)
	program{}.fails(t, exitTaken, "keygen", "keygen", right)
	key, err := credential.LoadKey(right)
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, server.Config{Key: key})
	addr := s.URL().Address()
	if s.URL().Secret() != s.URL().String() {
		t.Error("the URL carries the key, although one is configured")
	}
	program{}.must(t, "ls", "-d", addr, "--key", right)
	program{env: map[string]string{"CIRCUIT_KEY": right}}.must(t, "ls", "-d", addr)
	for _, args := range [][]string{{"ls", "-d", addr, "--key", right}, {"start", "-a", "127.0.0.1:0", "--key", right}} {
		program{env: map[string]string{"CIRCUIT_KEY": wrong}}.fails(t, exitUsage, "CIRCUIT_KEY", args...)
	}
	program{}.fails(t, exitDenied, "key", "ls", "-d", addr, "--key", wrong)
	program{}.fails(t, exitUsage, "key", "ls", "-d", addr)
	program{}.fails(t, exitNotFound, "circuit: dial /nonexistent: ", "ls", "-d", addr, "--key", "/nonexistent")
	program{}.fails(t, exitUsage, "circuit: dial: no key", "ls", "-d", addr, nowhere)
	if err := os.Chmod(right, 0o644); err != nil {
		t.Fatal(err)
	}
	program{}.fails(t, exitDenied, right, "ls", "-d", addr, "--key", right)
}

// TestWaitallGivesUp wants the processes named that had not ended in time.
func TestWaitallGivesUp(t *testing.T) {
	p, x := circuitOf(t)
	p.with(`{"Path":"cat"}`).must(t, "mkproc", x+"/a")
	p.with(`{"Path":"cat"}`).must(t, "mkproc", x+"/b")
	p.with(`{"Path":"true"}`).must(t, "mkproc", x+"/c")
	paths := x + "/b\n" + x + "/a\n" + x + "/c\n"
	open, w := io.Pipe() // standard input that does not end
	defer w.Close()
	for _, stdin := range []io.Reader{strings.NewReader(paths), io.MultiReader(strings.NewReader(paths), open)} {
		q := p
		q.stdin = stdin
		r := q.run("waitall", "--timeout", "1s")
		want := "circuit: waitall " + x + "/a: has not ended\ncircuit: waitall " + x + "/b: has not ended\n" +
			"circuit: waitall: gave up after 1s, as --timeout says\n"
		if r.code != exitTimeout || r.stderr != want {
			t.Errorf("exit code %d, standard error %q, want %q", r.code, r.stderr, want)
		}
	}
}

// TestSignals interrupts commands that wait.
func TestSignals(t *testing.T) {
	p, x := circuitOf(t)
	p.must(t, "mkchan", x+"/c")
	p.with(`{"Path":"cat"}`).must(t, "mkproc", x+"/cat")
	never, w := io.Pipe() // standard input that gives nothing
	defer w.Close()
	p.stdin = never
	p.signals = make(chan os.Signal, 2)
	for _, args := range [][]string{
		{"recv", x + "/c"}, {"send", x + "/c"}, {"wait", x + "/cat"}, {"stdout", x + "/cat"}, {"stdin", x + "/cat"},
		{"mkproc", x + "/d"}, {"waitall"},
	} {
		p.signals <- os.Interrupt
		r := p.run(args...)
		if r.code != exitInterrupted || r.stderr != "circuit: interrupted\n" || r.stdout != "" {
			t.Errorf("circuit %s: exit code %d, standard output %q, standard error %q", args[0], r.code, r.stdout, r.stderr)
		}
	}
}

// stuckReader blocks for good in spite of all signals.
type stuckReader struct{ reading chan struct{} }

func (s stuckReader) Read([]byte) (int, error) {
	close(s.reading)
	select {}
}

// TestStuck wants the program to end although its command is stuck, at the
// second signal or soon after the first.
func TestStuck(t *testing.T) {
	for _, signals := range []int{1, 2} {
		stuck := stuckReader{make(chan struct{})}
		p := program{stdin: stuck, signals: make(chan os.Signal, 2)}
		ended := make(chan result, 1)
		go func() { ended <- p.run("ls", "-d", "-") }()
		<-stuck.reading
		for range signals {
			p.signals <- os.Interrupt
		}
		if r := <-ended; r.code != exitInterrupted || r.stderr != "circuit: interrupted\n" {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
	}
}

// failingWriter fails every write.
type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestBrokenOutput(t *testing.T) {
	p, x := circuitOf(t)
	p.with(`{"Path":"echo","Args":["hello"]}`).must(t, "mkproc", x+"/a")
	p.must(t, "mkchan", x+"/c", "1")
	p.with("message").must(t, "send", x+"/c")
	for _, args := range [][]string{{"ls"}, {"peek", x}, {"stdout", x + "/a"}, {"version"}, {"help"}, {"stk", x}} {
		var errs bytes.Buffer
		if code := p.runTo(failingWriter{syscall.EPIPE}, &errs, args...); code != exitFailed || errs.Len() > 0 {
			t.Errorf("circuit %s without a reader: exit code %d, standard error %q", args[0], code, errs.String())
		}
		errs.Reset()
		full := &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
		if code := p.runTo(failingWriter{full}, &errs, args...); code != exitFailed || errs.String() != "circuit: cannot write standard output: no space left on device\n" {
			t.Errorf("circuit %s on a full disk: exit code %d, standard error %q", args[0], code, errs.String())
		}
	}
	var errs bytes.Buffer // wait never ends quietly but as the process did
	if code := p.runTo(failingWriter{syscall.EPIPE}, &errs, "wait", x+"/a"); code != exitCircuit || errs.String() != "circuit: cannot write standard output: broken pipe\n" {
		t.Errorf("wait without a reader: exit code %d, standard error %q", code, errs.String())
	}
	for _, args := range [][]string{{"recv", x + "/c"}, {"recv", "-o", "json", x + "/c"}} {
		if code := p.runTo(failingWriter{syscall.EPIPE}, io.Discard, args...); code != exitFailed {
			t.Errorf("circuit %s without a reader: exit code %d", args, code)
		}
	}
	if r := p.run("recv", x+"/c"); r.code != 0 || r.stdout != "message" || !strings.Contains(r.stderr, "redelivered") {
		t.Errorf("recv: exit code %d, standard output %q, standard error %q", r.code, r.stdout, r.stderr)
	}
}

// TestBrokenInput wants input that cannot be read to be no end of it.
func TestBrokenInput(t *testing.T) {
	p, x := circuitOf(t)
	p.must(t, "mkchan", x+"/c", "10")
	p.with(`{"Path":"cat"}`).must(t, "mkproc", x+"/cat")
	for _, args := range [][]string{{"send", x + "/c"}, {"send", "--lines", x + "/c"}, {"stdin", x + "/cat"}, {"mkproc", x + "/b"}, {"waitall"}} {
		q := p
		q.stdin = io.MultiReader(strings.NewReader("some"), failingReader{})
		if r := q.run(args...); r.code != exitFailed || !strings.Contains(r.stderr, "input/output error") {
			t.Errorf("circuit %s: exit code %d, standard error %q", args[0], r.code, r.stderr)
		}
	}
	wantMatch(t, p.must(t, "peek", "-o", "json", x+"/c"), `"NumSend":0,`)
	wantMatch(t, p.must(t, "peek", "-o", "json", x+"/cat"), `"Phase":"running",`)
}

// TestIdleInput wants commands to end when what they feed is gone, although
// their input gives nothing.
func TestIdleInput(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/c"
	for _, args := range [][]string{{"send", c}, {"send", "--lines", c}} {
		p.must(t, "mkchan", c)
		r, w := io.Pipe()
		q := p
		q.stdin = r
		ended := make(chan result, 1)
		go func() { ended <- q.run(args...) }()
		if _, err := io.WriteString(w, "begun\n"); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return strings.Contains(p.must(t, "peek", "-o", "json", c), `"Senders":1`) })
		p.must(t, "scrub", c)
		if r := <-ended; r.code != exitClosed {
			t.Errorf("circuit %q: exit code %d: %s", args, r.code, r.stderr)
		}
		w.Close()
	}
	p.with(`{"Path":"cat"}`).must(t, "mkproc", x+"/cat")
	r, w := io.Pipe()
	defer w.Close()
	q := p
	q.stdin = r
	ended := make(chan result, 1)
	go func() { ended <- q.run("stdin", x+"/cat") }()
	if _, err := io.WriteString(w, "begun\n"); err != nil {
		t.Fatal(err)
	}
	p.must(t, "signal", "KILL", x+"/cat")
	if r := <-ended; r.code != exitClosed {
		t.Errorf("stdin: exit code %d: %s", r.code, r.stderr)
	}
}

// TestIdleStdinOfAnEndedProcess wants stdin to end with the process although
// nothing comes and nothing came, and not to fail where that is the end.
func TestIdleStdinOfAnEndedProcess(t *testing.T) {
	p, x := circuitOf(t)
	cat := x + "/cat"
	p.with(`{"Path":"cat"}`).must(t, "mkproc", cat)
	r, w := io.Pipe()
	defer w.Close()
	q := p
	q.stdin = r
	ended := make(chan result, 1)
	go func() { ended <- q.run("stdin", cat) }()
	p.must(t, "signal", "KILL", cat)
	for _, when := range []string{"while it ran", "when it had ended"} {
		if r := <-ended; r.code != exitClosed || !strings.Contains(r.stderr, "took no more") {
			t.Errorf("stdin of a process that ended, begun %s: exit code %d: %s", when, r.code, r.stderr)
		}
		go func() { ended <- q.run("stdin", cat) }()
	}
	<-ended
	p.with("").must(t, "stdin", cat)
	p.with("x").fails(t, exitClosed, "", "stdin", cat)
}

// waitFor polls until ok is true.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !ok(); <-tick.C {
		if time.Since(began) > 10*time.Second {
			t.Fatal("waited in vain")
		}
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) {
	return 0, &os.PathError{Op: "read", Path: "/dev/stdin", Err: syscall.EIO}
}

// TestMissedOutput wants bytes that are gone to be counted.
func TestMissedOutput(t *testing.T) {
	p, x := circuitOf(t)
	p.with(`{"Path":"sh","Args":["-c","head -c 99996 /dev/zero; echo end"],"Spool":"16KiB","Overflow":"drop"}`).must(t, "mkproc", x+"/a")
	if r := p.run("wait", x+"/a"); r.code != 0 {
		t.Fatalf("wait: exit code %d: %s", r.code, r.stderr)
	}
	r := p.run("stdout", x+"/a")
	wantMatch(t, r.stderr, `^circuit: stdout `+x+`/a: \d+ bytes of the output are gone, from byte 0 on\n$`)
	if r.code != exitFailed || !strings.HasSuffix(r.stdout, "end\n") || len(r.stdout) > 64<<10 {
		t.Errorf("exit code %d, %d bytes", r.code, len(r.stdout))
	}
	r = p.run("stdout", "-o", "json", x+"/a")
	if r.code != exitFailed {
		t.Errorf("exit code %d", r.code)
	}
	wantMatch(t, r.stdout, `^{"Offset":0,"Lost":\d+}\n{"Offset":\d+,"Data":"`)
}

func TestCompletionOfPaths(t *testing.T) {
	p, x := circuitOf(t)
	p.must(t, "mkchan", x+"/this/is/charlie")
	for word, want := range map[string]string{
		"":              "/\n:6\n",
		"/X":            x + "/\n:6\n",
		x + "/":         x + "/this/\n:6\n",
		x + "/this/is/": x + "/this/is/charlie\n:4\n",
		x + "/no":       ":4\n",
		"/nonsense/":    ":4\n",
	} {
		r := p.run("__complete", "peek", word)
		if r.code != 0 || r.stdout != want {
			t.Errorf("completing %q: exit code %d, %q, want %q", word, r.code, r.stdout, want)
		}
	}
	if r := (program{}).run("__complete", "peek", "-d", "127.0.0.1:1", "/X"); r.code != 0 || r.stdout != ":4\n" {
		t.Errorf("without a server: exit code %d, %q", r.code, r.stdout)
	}
}

func wantMatch(t *testing.T, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(got) {
		t.Errorf("%q does not match %s", got, pattern)
	}
}

func TestVersion(t *testing.T) {
	wantMatch(t, program{}.must(t, "version"), `^circuit \S+ \w+/\w+ go\S+\n$`)
	wantMatch(t, program{}.must(t, "version", "-o", "json"), `^{"Version":".+","Go":"go.*","Platform":"\w+/\w+"}\n$`)
}

func TestDemoFails(t *testing.T) {
	r := program{}.run("demo")
	if r.code != exitFailed || !strings.Contains(r.stderr, "circuit: demo: step 1 failed: ") {
		t.Errorf("exit code %d, standard error %q", r.code, r.stderr)
	}
	if err := errors.Unwrap(&errOutput{io.EOF}); err != io.EOF {
		t.Errorf("%v", err)
	}
}
