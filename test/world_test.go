package test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// world is one test's machine: a directory, an environment, and all processes
// that the test started, which end with it.
type world struct {
	dir string
	env []string

	mu      sync.Mutex
	servers map[string]*server
}

// server is one running circuit start.
type server struct {
	name string
	cmd  *exec.Cmd
	log  string        // file of its standard error
	line chan string   // its first line of standard output, then closed
	done chan struct{} // closed once it has ended and was reaped

	url  string // what it printed
	path string // its anchor, "/X..."
	addr string // its HOST:PORT
}

// newWorld makes a world for a Go test.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	if err := w.init(os.Environ()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.close()
		if t.Failed() {
			w.dumpLogs(t)
		}
	})
	return w
}

// init prepares the world's directories and environment. Nothing of the
// user's own circuits is seen in it.
func (w *world) init(base []string) error {
	w.servers = make(map[string]*server)
	for _, e := range base {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "CIRCUIT", "CIRCUIT_KEY", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME", "TMPDIR", "PATH":
		default:
			w.env = append(w.env, e)
		}
	}
	w.env = append(w.env,
		"CIRCUIT_TEST_BIN="+programDir(),
		"PATH="+programDir()+string(os.PathListSeparator)+os.Getenv("PATH"),
		"HOME="+filepath.Join(w.dir, "home"),
		"XDG_RUNTIME_DIR="+filepath.Join(w.dir, "run"),
		"TMPDIR="+filepath.Join(w.dir, "tmp"))
	for _, d := range []string{"home", "run", "tmp"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// file returns the name of a file in the world.
func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// launch starts a server without waiting for it. Without -a among the
// arguments, it listens on any port of loopback.
func (w *world) launch(name string, args ...string) (*server, error) {
	if !strings.Contains(" "+strings.Join(args, " ")+" ", " -a ") {
		args = append([]string{"-a", "127.0.0.1:0"}, args...)
	}
	return w.launchBy(name, program(), append([]string{"start"}, args...)...)
}

// launchBy starts a server by a command that becomes one.
func (w *world) launchBy(name, command string, args ...string) (*server, error) {
	log, err := os.OpenFile(w.file(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return w.launchInto(name, log, command, args...)
}

// launchInto is launchBy with this standard error.
func (w *world) launchInto(name string, stderr *os.File, command string, args ...string) (*server, error) {
	s := &server{name: name, log: w.file(name + ".log"), line: make(chan string, 1), done: make(chan struct{})}
	s.cmd = exec.Command(command, args...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = w.dir, w.env, stderr
	s.cmd.SysProcAttr = endWithTests()
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		lines := bufio.NewReader(out)
		if line, err := lines.ReadString('\n'); err == nil {
			s.line <- strings.TrimSuffix(line, "\n")
		}
		close(s.line)
		_, _ = io.Copy(io.Discard, lines)
		_ = s.cmd.Wait()
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[name] = s
	return s, nil
}

// ready waits until the server is usable, and keeps its URL in NAME.url.
func (w *world) ready(s *server) error {
	select {
	case line, ok := <-s.line:
		if !ok {
			<-s.done
			return fmt.Errorf("server %s ended: %v\n%s", s.name, s.cmd.ProcessState, w.logOf(s))
		}
		s.url = line
	case <-time.After(20 * time.Second):
		return fmt.Errorf("server %s printed no URL\n%s", s.name, w.logOf(s))
	}
	rest := strings.TrimPrefix(s.url, "circuit://")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = rest[i+1:]
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 || !strings.HasPrefix(parts[2], "Q") {
		return fmt.Errorf("server %s printed %q, which is no URL", s.name, s.url)
	}
	s.addr, s.path = parts[0], "/X"+parts[2][1:]
	return os.WriteFile(w.file(s.name+".url"), []byte(s.url+"\n"), 0o600)
}

// start starts a server and waits until it is usable.
func (w *world) start(t *testing.T, name string, args ...string) *server {
	t.Helper()
	s, err := w.launch(name, args...)
	if err == nil {
		err = w.ready(s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// circuit starts n servers joined to one circuit, named s0, s1, ..., and waits
// until each of them lists them all.
func (w *world) circuit(t *testing.T, n int) []*server {
	t.Helper()
	servers := []*server{w.start(t, "s0")}
	for i := 1; i < n; i++ {
		servers = append(servers, w.start(t, fmt.Sprintf("s%d", i), "-j", servers[0].url))
	}
	for _, s := range servers {
		w.await(t, 10*time.Second, s.name+" sees all servers", func() bool { return len(w.list(s)) == n })
	}
	return servers
}

// list returns what s lists as servers; nil if that fails.
func (w *world) list(s *server) []string {
	r := w.run("", "ls", "-d", s.url, "/")
	if r.code != 0 {
		return nil
	}
	return strings.Fields(strings.ReplaceAll(r.stdout, "---- ", ""))
}

// signal sends a signal to the server.
func (s *server) signal(sig syscall.Signal) error {
	select {
	case <-s.done:
		return fmt.Errorf("server %s has ended", s.name)
	default:
		return s.cmd.Process.Signal(sig)
	}
}

// kill ends the server by KILL and waits for that.
func (s *server) kill() {
	_ = s.signal(syscall.SIGKILL)
	<-s.done
}

// close ends all servers: by TERM, and after a while by KILL.
func (w *world) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.servers {
		_ = s.signal(syscall.SIGCONT)
		_ = s.signal(syscall.SIGTERM)
	}
	deadline := time.After(8 * time.Second)
	for _, s := range w.servers {
		select {
		case <-s.done:
		case <-deadline:
			s.kill()
		}
	}
}

func (w *world) logOf(s *server) []byte {
	b, _ := os.ReadFile(s.log)
	return b
}

func (w *world) dumpLogs(t *testing.T) {
	for name, s := range w.servers {
		if b := w.logOf(s); len(b) > 0 {
			t.Logf("standard error of server %s:\n%s", name, b[:min(len(b), 4000)])
		}
	}
}

// pollFor polls until ok is true, for limit at most, and returns how long that
// took.
func pollFor(limit time.Duration, ok func() bool) (time.Duration, bool) {
	began := time.Now()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		if time.Since(began) > limit {
			return time.Since(began), false
		}
		<-again.C
	}
	return time.Since(began), true
}

// await polls until ok is true, and fails the test if that takes longer than
// limit. It returns how long it took.
func (w *world) await(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	took, in := pollFor(limit, ok)
	if !in {
		t.Fatalf("waited %v in vain: %s", limit, what)
	}
	return took
}

// result is what became of one run of the program.
type result struct {
	stdout, stderr string
	code           int // 128+n for signal n
	took           time.Duration
}

// running is one run of the program that goes on in the background.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	began          time.Time
	done           chan result
}

// runLimit is when runs that hang are ended.
func runLimit() time.Duration { return time.Duration(size(1, 10)) * time.Minute }

// run runs the program with this standard input and waits for its end.
func (w *world) run(stdin string, args ...string) result {
	c, err := w.background(strings.NewReader(stdin), nil, args...)
	if err != nil {
		return result{stderr: err.Error(), code: -1}
	}
	return c.wait()
}

// runInto runs the program with this standard output and waits for its end.
func (w *world) runInto(t *testing.T, stdout io.Writer, args ...string) result {
	t.Helper()
	return w.beginInto(t, nil, stdout, args...).wait()
}

// background runs the program. A nil stdin is empty, a nil stdout is kept for
// the result.
func (w *world) background(stdin io.Reader, stdout io.Writer, args ...string) (*running, error) {
	return w.backgroundBy(stdin, stdout, program(), args...)
}

// backgroundBy runs a command that becomes the program.
func (w *world) backgroundBy(stdin io.Reader, stdout io.Writer, command string, args ...string) (*running, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit())
	c := &running{began: time.Now(), done: make(chan result, 1)}
	if stdout == nil {
		stdout = &c.stdout
	}
	c.cmd = exec.CommandContext(ctx, command, args...)
	c.cmd.Dir, c.cmd.Env, c.cmd.Stdin = w.dir, w.env, stdin
	c.cmd.Stdout, c.cmd.Stderr = stdout, &c.stderr
	c.cmd.SysProcAttr, c.cmd.WaitDelay = endWithTests(), time.Second
	if err := c.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer cancel()
		_ = c.cmd.Wait()
		c.done <- result{c.stdout.String(), c.stderr.String(), exitCode(c.cmd), time.Since(c.began)}
	}()
	return c, nil
}

// wait waits for the end of the run.
func (c *running) wait() result {
	r := <-c.done
	c.done <- r
	return r
}

// kill ends the run by KILL and waits for that.
func (c *running) kill() result {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return result{stderr: err.Error(), code: -1}
	}
	return c.wait()
}

// begin runs the program in the background; the test's end kills it.
func (w *world) begin(t *testing.T, stdin io.Reader, args ...string) *running {
	t.Helper()
	return w.beginInto(t, stdin, nil, args...)
}

// beginInto is begin with this standard output.
func (w *world) beginInto(t *testing.T, stdin io.Reader, stdout io.Writer, args ...string) *running {
	t.Helper()
	c, err := w.background(stdin, stdout, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kill() })
	return c
}

// must runs the program and fails the test unless it exits 0. It returns its
// standard output.
func (w *world) must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := w.run(stdin, args...)
	if r.code != 0 {
		t.Fatalf("circuit %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// freeAddr returns an address of a host at which nobody listens. Its port is
// below those that the system gives to whoever does not ask for one, so that
// nobody who dials in the meantime has it.
func freeAddr(host string) (string, error) {
	var err error
	for range 100 {
		addr := net.JoinHostPort(host, strconv.Itoa(10_000+rand.IntN(20_000)))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", err
}
