package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPipesWithoutWriters names pipes into which nobody writes where a URL or a key
// is to be read, and wants --timeout and INT to end the waiting.
func TestPipesWithoutWriters(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	url := "circuit://" + aKey + "@127.0.0.1:1"
	for name, test := range map[string]struct {
		env  map[string]string
		args string
		code int // at INT
	}{
		"ls -d -":           {nil, "ls -d -", exitInterrupted},
		"ls -d @FIFO":       {nil, "ls -d @" + fifo, exitInterrupted},
		"ls, CIRCUIT":       {map[string]string{"CIRCUIT": fifo}, "ls", exitInterrupted},
		"ls, CIRCUIT_KEY":   {map[string]string{"CIRCUIT_KEY": fifo}, "ls -d " + url, exitInterrupted},
		"ls --key":          {nil, "ls --key " + fifo + " -d " + url, exitInterrupted},
		"peek -d -":         {nil, "peek -d - " + nowhere, exitInterrupted},
		"wait, CIRCUIT":     {map[string]string{"CIRCUIT": fifo}, "wait " + nowhere + "/p", exitInterrupted},
		"waitall -d @FIFO":  {nil, "waitall -d @" + fifo, exitInterrupted},
		"join URL":          {nil, "join " + nowhere + " -", exitInterrupted},
		"start -j -":        {nil, "start -j -", exitOK},
		"start -j @FIFO":    {nil, "start -j @" + fifo, exitOK},
		"start --key":       {nil, "start --key " + fifo, exitOK},
		"start CIRCUIT_KEY": {map[string]string{"CIRCUIT_KEY": fifo}, "start", exitOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nobody, ours := io.Pipe()
			defer ours.Close()
			args := strings.Fields(test.args)
			if args[0] != "start" {
				r := program{stdin: nobody, env: test.env}.run(append(args, "--timeout", "10ms")...)
				if r.code != exitTimeout || !strings.Contains(r.stderr, "gave up after 10ms") {
					t.Errorf("with --timeout: exit code %d, standard error %q", r.code, r.stderr)
				}
			}
			signals := make(chan os.Signal, 1)
			signals <- os.Interrupt
			began := time.Now()
			r := program{stdin: nobody, env: test.env, signals: signals}.run(args...)
			if r.code != test.code || r.code == 0 && r.stderr != "" || r.stdout != "" {
				t.Errorf("at INT: exit code %d, want %d; standard output %q, standard error %q", r.code, test.code, r.stdout, r.stderr)
			}
			if time.Since(began) >= atOnce {
				t.Errorf("at INT, it took %v", time.Since(began))
			}
		})
	}
}

// TestStartInterrupted interrupts a server that has not started yet.
func TestStartInterrupted(t *testing.T) {
	for range 20 {
		signals := make(chan os.Signal, 1)
		signals <- syscall.SIGTERM
		p := program{signals: signals, env: map[string]string{"XDG_RUNTIME_DIR": t.TempDir()}}
		if r := p.run("start", "-a", "127.0.0.1:0"); r.code != 0 || strings.Contains(r.stderr, "circuit: ") {
			t.Fatalf("exit code %d, standard error %q", r.code, r.stderr)
		}
	}
}
