package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gocircuit/circuit/client"
)

// lab is where things are measured: the program, built from the source beside
// this one, and a directory in which its servers keep to themselves.
type lab struct {
	quick   bool
	sizes   []int // how many servers, where that is varied; none for the usual
	dir     string
	program string
	servers []*server
}

// newLab builds the program, unless there is one to measure.
func newLab(ctx context.Context, program string, quick bool) (*lab, error) {
	dir, err := os.MkdirTemp("", "circuit-bench-")
	if err != nil {
		return nil, err
	}
	if program != "" {
		program, err = filepath.Abs(program)
		return &lab{quick: quick, dir: dir, program: program}, err
	}
	l := &lab{quick: quick, dir: dir, program: filepath.Join(dir, "circuit")}
	if err := l.build(ctx, l.program, "-trimpath", "-ldflags=-s -w"); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// build builds the program as a file.
func (l *lab) build(ctx context.Context, file string, flags ...string) error {
	args := append(append([]string{"build", "-o", file}, flags...), "./cmd/circuit")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return nil
}

// rounds returns n, or fewer when it is to be quick.
func (l *lab) rounds(n, quick int) int {
	if l.quick {
		return quick
	}
	return n
}

// env is the environment of servers: nothing of the user's own circuits.
func (l *lab) env() []string {
	var env []string
	for _, e := range os.Environ() {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "CIRCUIT", "CIRCUIT_KEY", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME":
		default:
			env = append(env, e)
		}
	}
	return append(env, "HOME="+l.dir, "XDG_RUNTIME_DIR="+l.dir)
}

// server is one server process.
type server struct {
	cmd   *exec.Cmd
	url   string        // its first line: how to reach it
	begun time.Time     // just before it was executed
	ready time.Time     // once it had printed that line
	gone  chan struct{} // closed when it is
}

// start starts a server, which joins another if there is one, and returns once
// it has printed its URL.
func (l *lab) start(join *server) (*server, error) {
	s, err := l.launch(join)
	if err == nil {
		l.servers = append(l.servers, s)
	}
	return s, err
}

// launch is start for those who end the server themselves. It may be called many
// times at once.
func (l *lab) launch(join *server) (*server, error) {
	args := []string{"start", "-a", "127.0.0.1:0"}
	if join != nil {
		args = append(args, "-j", join.url)
	}
	cmd := exec.Command(l.program, args...)
	cmd.Env, cmd.Dir = l.env(), l.dir
	log, err := os.OpenFile(filepath.Join(l.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	s, err := spawn(cmd, func(string) {})
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("a server did not start: %w\n%s", err, text)
	}
	return s, nil
}

// spawn executes a server and returns once it has printed its first line. What
// it prints after that is given to each, line by line.
func spawn(cmd *exec.Cmd, each func(line string)) (*server, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, begun: time.Now(), gone: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	if lines.Scan() {
		s.url, s.ready = lines.Text(), time.Now()
	}
	go func() {
		defer close(s.gone)
		for lines.Scan() {
			each(lines.Text())
		}
		cmd.Wait()
	}()
	if s.url == "" {
		s.kill()
		return nil, errors.New("it printed nothing")
	}
	return s, nil
}

// kill ends a server as kill -9 does, and waits for that.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.gone
}

// stop ends a server and waits for that.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(10 * time.Second):
		s.kill()
	}
}

// dial returns a client of a server.
func (l *lab) dial(ctx context.Context, s *server) (*client.Client, error) {
	return client.Dial(ctx, s.url, client.WithEnv(func(string) string { return "" }))
}

// pair starts two servers of one circuit and returns them with clients of them.
func (l *lab) pair(ctx context.Context) (host *client.Anchor, direct, through *client.Client, err error) {
	a, err := l.start(nil)
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := l.start(a)
	if err != nil {
		return nil, nil, nil, err
	}
	if direct, err = l.dial(ctx, a); err != nil {
		return nil, nil, nil, err
	}
	if through, err = l.dial(ctx, b); err != nil {
		return nil, nil, nil, err
	}
	for _, c := range []*client.Client{direct, through} {
		if err := l.sees(ctx, c, 2); err != nil {
			return nil, nil, nil, err
		}
	}
	return direct.Server(direct.DialIn().ID).Anchor(), direct, through, nil
}

// sees waits until a client sees n servers.
func (l *lab) sees(ctx context.Context, c *client.Client, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if seen, err := listed(ctx, c); err != nil || seen == n {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("the servers did not find each other")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// listed returns how many servers a client's server lists.
func listed(ctx context.Context, c *client.Client) (n int, err error) {
	for _, err := range c.Servers(ctx) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// clear stops all servers.
func (l *lab) clear() {
	for _, s := range l.servers {
		s.stop()
	}
	l.servers = nil
}

func (l *lab) close() {
	l.clear()
	os.RemoveAll(l.dir)
}
