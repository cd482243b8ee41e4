package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/gocircuit/circuit/client"
)

// demoServer is one of the tour's servers: a process of its own.
type demoServer struct {
	cmd  *exec.Cmd
	url  client.URL
	file string        // holds the URL, and with it the key
	log  string        // file of its standard error
	done chan struct{} // closed once the process has ended
}

// startServer starts the tour's next server, and returns once it is usable.
func (t *tour) startServer(ctx context.Context, args ...string) (*demoServer, error) {
	name := fmt.Sprintf("server%d", len(t.servers)+1)
	s := &demoServer{file: t.path(name + ".url"), log: t.path(name + ".log"), done: make(chan struct{})}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(t.app.env.Executable, append([]string{"start", "-a", "127.0.0.1:0"}, args...)...)
	s.cmd.Env, s.cmd.Stderr, s.cmd.SysProcAttr = t.environ(), log, demoAttr(t.keep)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	t.servers = append(t.servers, s)

	line := make(chan string, 1)
	go func() {
		defer close(s.done)
		lines := bufio.NewReader(out)
		text, _ := lines.ReadString('\n') // an incomplete line is no URL
		line <- strings.TrimSpace(text)
		_, _ = io.Copy(io.Discard, lines)
		_ = s.cmd.Wait() // however it ended
	}()
	select {
	case text := <-line:
		if s.url, err = client.ParseURL(text); err != nil || s.url.ID == 0 {
			return nil, fmt.Errorf("a server could not start: %s", s.lastLog())
		}
		return s, os.WriteFile(s.file, []byte(text+"\n"), 0o600)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// environ is the environment of the servers: the user's own circuits are not
// seen in it. Unless the tour's is to stay, it is not seen by the user's
// commands either, and all its files are the tour's.
func (t *tour) environ() []string {
	own := []string{"CIRCUIT", "CIRCUIT_KEY"}
	env := []string{}
	if !t.keep {
		own = append(own, "XDG_RUNTIME_DIR", "TMPDIR")
		env = append(env, "XDG_RUNTIME_DIR="+t.dir, "TMPDIR="+t.dir)
	}
	for _, e := range t.app.env.Environ {
		if name, _, _ := strings.Cut(e, "="); !slices.Contains(own, name) {
			env = append(env, e)
		}
	}
	return env
}

// lastLog returns the last line that the server had to say.
func (s *demoServer) lastLog() string {
	b, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return "it gave no reason"
}

func (s *demoServer) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// terminate asks the server to end, if it runs.
func (s *demoServer) terminate() { s.signal(syscall.SIGTERM) }

// kill ends the server by KILL, and waits for that.
func (s *demoServer) kill() {
	s.signal(syscall.SIGKILL)
	<-s.done
}

func (s *demoServer) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = s.cmd.Process.Kill() // a child of ours can always be killed
	}
}
