package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript runs the stories in testdata/script. Beside testscript's own
// commands they have
//
//	server NAME [ARG...]           start a server, and wait until it is usable; then
//	                               $NAME is its anchor, $NAME_url its URL, $NAME_addr
//	                               its address, $NAME_pid its process, NAME.url and
//	                               NAME.log are files
//	launch NAME [ARG...]           start a server without waiting
//	ready NAME                     wait until a launched server is usable
//	signal NAME SIGNAL             send a signal to a server
//	reap NAME CODE                 wait for a server's end, by this exit code
//	freeport NAME                  $NAME is a HOST:PORT that nobody listens on
//	exits CODE LIMIT PROGRAM ARG.. run a program that ends with this exit code in this time
//	until LIMIT REGEXP PROGRAM ... run a program until it exits 0 and prints this
//	logged LIMIT NAME REGEXP       wait until a server has logged this
//
// and the condition [long].
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup:              setupScript,
		Condition: func(cond string) (bool, error) {
			if cond == "long" {
				return long(), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": cmdServer, "launch": cmdLaunch, "ready": cmdReady, "signal": cmdSignal,
			"reap": cmdReap, "freeport": cmdFreeport, "exits": cmdExits, "until": cmdUntil, "logged": cmdLogged,
		},
	})
}

type worldKey struct{}

func setupScript(env *testscript.Env) error {
	w := &world{dir: env.WorkDir}
	if err := w.init(env.Vars); err != nil {
		return err
	}
	env.Vars = w.env
	env.Values[worldKey{}] = w
	env.Defer(w.close)
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// usage fails a script that calls a command wrongly.
func usage(ts *testscript.TestScript, neg, ok bool, text string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", text)
	}
}

func serverOf(ts *testscript.TestScript, name string) *server {
	s := worldOf(ts).servers[name]
	if s == nil {
		ts.Fatalf("there is no server %s", name)
	}
	return s
}

func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	cmdLaunch(ts, neg, args)
	cmdReady(ts, neg, args[:1])
}

func cmdLaunch(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) > 0, "launch NAME [ARG...]")
	w := worldOf(ts)
	_, err := w.launch(args[0], args[1:]...)
	ts.Check(err)
}

func cmdReady(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "ready NAME")
	s := serverOf(ts, args[0])
	ts.Check(worldOf(ts).ready(s))
	ts.Setenv(s.name, s.path)
	ts.Setenv(s.name+"_url", s.url)
	ts.Setenv(s.name+"_addr", s.addr)
	ts.Setenv(s.name+"_pid", strconv.Itoa(s.cmd.Process.Pid))
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	}
	usage(ts, neg, len(args) == 2 && signals[args[1]] != 0, "signal NAME TERM|INT|KILL|STOP|CONT")
	ts.Check(serverOf(ts, args[0]).signal(signals[args[1]]))
}

func cmdReap(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 2, "reap NAME CODE")
	s := serverOf(ts, args[0])
	select {
	case <-s.done:
	case <-time.After(15 * time.Second):
		ts.Fatalf("server %s does not end", s.name)
	}
	if got := strconv.Itoa(exitCode(s.cmd)); got != args[1] {
		ts.Fatalf("server %s ended with exit code %s\n%s", s.name, got, worldOf(ts).logOf(s))
	}
}

func cmdFreeport(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "freeport NAME")
	addr, err := freeAddr("127.0.0.1")
	ts.Check(err)
	ts.Setenv(args[0], addr)
}

// runFor runs a program of a script, for limit at most.
func runFor(ts *testscript.TestScript, limit time.Duration, args []string) (stdout, stderr string, code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, lookPath(args[0]), args[1:]...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = ts.MkAbs("."), &out, &errs, time.Second
	cmd.Env, cmd.SysProcAttr = scriptEnv(ts), endWithTests()
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%s still runs after %v", strings.Join(args, " "), limit)
	}
	return out.String(), errs.String(), exitCode(cmd), err
}

// scriptEnv is the environment of a script as it is now.
func scriptEnv(ts *testscript.TestScript) []string {
	env := append([]string{}, worldOf(ts).env...)
	for _, name := range []string{"CIRCUIT", "CIRCUIT_KEY", "XDG_RUNTIME_DIR", "HOME"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	for name := range worldOf(ts).servers {
		env = append(env, name+"="+ts.Getenv(name), name+"_url="+ts.Getenv(name+"_url"))
	}
	return env
}

// lookPath finds the program under test without the test's own PATH.
func lookPath(name string) string {
	if name == "circuit" {
		return program()
	}
	return name
}

func exitCode(cmd *exec.Cmd) int {
	if cmd.ProcessState == nil {
		return -1
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) > 2, "exits CODE LIMIT PROGRAM [ARG...]")
	limit, err := time.ParseDuration(args[1])
	ts.Check(err)
	stdout, stderr, code, err := runFor(ts, limit, args[2:])
	fmt.Fprint(ts.Stdout(), stdout)
	fmt.Fprint(ts.Stderr(), stderr)
	ts.Check(err)
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d instead of %s\n%s", code, args[0], stderr)
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) > 2, "until LIMIT REGEXP PROGRAM [ARG...]")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var stdout, stderr string
	poll(ts, limit, func() bool {
		var code int
		stdout, stderr, code, err = runFor(ts, limit, args[2:])
		return err == nil && code == 0 && want.MatchString(stdout)
	}, func() string {
		return fmt.Sprintf("%s never printed %s; at last\n%s%s", strings.Join(args[2:], " "), args[1], stdout, stderr)
	})
	fmt.Fprint(ts.Stdout(), stdout)
}

func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 3, "logged LIMIT NAME REGEXP")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	want, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	w, s := worldOf(ts), serverOf(ts, args[1])
	poll(ts, limit, func() bool { return want.Match(w.logOf(s)) }, func() string {
		return fmt.Sprintf("server %s never logged %s\n%s", s.name, want, w.logOf(s))
	})
}

// poll polls until ok is true.
func poll(ts *testscript.TestScript, limit time.Duration, ok func() bool, failure func() string) {
	if _, in := pollFor(limit, ok); !in {
		ts.Fatalf("%s", failure())
	}
}

// TestScriptsAreComplete wants the scripts to be where TestScript looks.
func TestScriptsAreComplete(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d scripts, error %v", len(files), err)
	}
	if _, err := os.Stat(program()); err != nil {
		t.Fatalf("no program to test on %s: %v", runtime.GOOS, err)
	}
}
