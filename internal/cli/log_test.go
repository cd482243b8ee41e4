package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a writer that takes nothing while it is shut, and fails while broken.
type gate struct {
	open chan struct{} // closed: it takes

	mu     sync.Mutex
	broken bool
	text   strings.Builder
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return 0, errors.New("broken")
	}
	return g.text.Write(p)
}

func (g *gate) setBroken(broken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = broken
}

// lines returns what was written.
func (g *gate) lines() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Split(strings.TrimSuffix(g.text.String(), "\n"), "\n")
}

// TestLogWaitsForStandardError logs more than is kept while nothing is taken,
// and wants to wait for nothing, the lines that are kept in order, and the
// number of the others where they are missing.
func TestLogWaitsForStandardError(t *testing.T) {
	for form, number := range map[format]string{formatText: "number=%d", formatJSON: `"number":%d}`} {
		synctest.Test(t, func(t *testing.T) {
			const many = 100_000
			g := newGate()
			q := newLogQueue(g, form)
			log := q.logger()
			for i := range many {
				log.Info("a line", "number", i)
			}
			close(g.open)
			synctest.Wait()
			log.Info("a line", "number", many)
			if !q.close(nil) {
				t.Fatal("the log was not written")
			}
			lines := g.lines()
			kept := len(lines) - 2
			if kept < 1000 || kept == many {
				t.Fatalf("%d of %d lines were kept", kept, many)
			}
			for i, line := range append(lines[:kept:kept], lines[kept+1]) {
				if i == kept {
					i = many
				}
				if !strings.HasSuffix(line, fmt.Sprintf(number, i)) {
					t.Fatalf("line %d is %s", i, line)
				}
			}
			if lost := lines[kept]; !strings.Contains(lost, "lines of this log are lost") || !strings.Contains(lost, strconv.Itoa(many-kept)) {
				t.Errorf("%d lines are lost, and the log says %s", many-kept, lost)
			}
		})
	}
}

// TestLogLosesLinesSilently lets writing fail for three lines.
func TestLogLosesLinesSilently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		close(g.open)
		q := newLogQueue(g, formatText)
		log := q.logger()
		g.setBroken(true)
		for range 3 {
			log.Info("unheard")
			synctest.Wait()
		}
		g.setBroken(false)
		log.Info("heard")
		if !q.close(nil) {
			t.Fatal("the log was not written")
		}
		lines := g.lines()
		if len(lines) != 2 || !strings.HasSuffix(lines[0], "lines=3") || !strings.HasSuffix(lines[1], "msg=heard") {
			t.Errorf("the log is %q", lines)
		}
	})
}

// TestLogIsFlushedForTooLong ends a log that cannot be written.
func TestLogIsFlushedForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := newLogQueue(g, formatText)
		q.logger().Info("a line")
		began := time.Now()
		if q.close(nil) || time.Since(began) != flushTime {
			t.Errorf("it waited for %v", time.Since(began))
		}
		now := make(chan struct{})
		close(now)
		if began = time.Now(); q.close(now) || time.Since(began) != 0 {
			t.Errorf("it waited for %v after the second signal", time.Since(began))
		}
		close(g.open)
		<-q.ended
	})
}

// TestSecondSignalWaitsForStandardError signals programs twice whose standard
// error takes nothing: one that has a failure to tell, and a server.
func TestSecondSignalWaitsForStandardError(t *testing.T) {
	for _, args := range []string{"frobnicate", "start -a 127.0.0.1:0 -j 127.0.0.1:1 --key KEY", "start -a nonsense"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			key := t.TempDir() + "/key"
			program{}.must(t, "keygen", key)
			_, stderr := io.Pipe() // nobody reads it
			p := program{signals: make(chan os.Signal, 2), env: map[string]string{"XDG_RUNTIME_DIR": t.TempDir()}}
			code := make(chan int, 1)
			go func() { code <- p.runTo(io.Discard, stderr, strings.Fields(strings.ReplaceAll(args, "KEY", key))...) }()
			p.signals <- syscall.SIGTERM
			p.signals <- syscall.SIGTERM
			select {
			case c := <-code:
				if c != exitInterrupted && c != exitOK {
					t.Errorf("exit code %d", c)
				}
			case <-time.After(10 * time.Second):
				t.Error("it still runs")
			}
		})
	}
}
