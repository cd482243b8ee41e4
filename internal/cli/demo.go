package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

const demoHelp = `  circuit demo
  circuit demo --keep

Usage: circuit demo [--keep]

A tour on this machine: starts three servers on loopback, shows what they can do,
step by step, and ends them again. Exits 1 if any step failed.

  --keep   leave the circuit running, and print how to reach and how to stop it
`

// demoLimit is the most that one step of the tour may take.
const demoLimit = 10 * time.Second

func (a *app) demoCommand() command {
	var keep bool
	return command{
		use:   "demo",
		short: "a tour, on this machine",
		help:  demoHelp,
		local: true,
		plain: true,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&keep, "keep", false, "leave the circuit running")
		},
		run: func(ctx context.Context, _ *cobra.Command, _ []string) error {
			a.lingers.Store(true)
			t := &tour{app: a, keep: keep}
			release, err := t.makeDir()
			if err != nil {
				return err
			}
			defer release()
			err = t.run(ctx)
			if err == nil && keep {
				return t.printKept()
			}
			t.end()
			return err
		},
	}
}

// tour is one run of the demo.
type tour struct {
	app     *app
	dir     string // everything that the tour leaves on disk
	keep    bool
	servers []*demoServer
	clients []*client.Client // one for each server, dialled into it
	step    int
}

// makeDir makes the directory of the tour's files. One that is not to stay is
// removed by the next demo or start if this one is killed, once release was
// called or the program has ended.
func (t *tour) makeDir() (release func(), err error) {
	if t.keep {
		t.dir, err = os.MkdirTemp("", "circuit-kept-")
		return func() {}, err
	}
	dir, lock, err := server.DemoDir()
	if err != nil {
		return nil, errors.New(plainError(err)) // a step that failed, and not a wrong call
	}
	t.dir = dir
	return func() { lock.Close() }, nil
}

// run shows all steps.
func (t *tour) run(ctx context.Context) error {
	defer func() {
		for _, c := range t.clients {
			_ = c.Close() // nothing is under way
		}
	}()
	began := time.Now()
	steps := []struct {
		title string
		show  func(context.Context) error
	}{
		{"Three servers start, and two of them join the first.", t.startServers},
		{"Any of them lists the circuit; servers are the top of its hierarchy.", t.list},
		{"Dialled into the first server, run a process on the third.", t.runProcess},
		{"A process on the second server sends to one on the third.", t.useChannel},
		{"The third server is killed by KILL; the others notice by themselves.", t.killServer},
	}
	for _, s := range steps {
		if err := t.show(ctx, s.title, s.show); err != nil {
			return err
		}
	}
	t.say("\nThe whole tour took %s.\n", elapsed(began))
	return t.app.stdout.broken
}

// show shows one step.
func (t *tour) show(ctx context.Context, title string, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoLimit, fmt.Errorf("this step took longer than %v", demoLimit))
	defer cancel()
	t.step++
	if t.step > 1 {
		t.say("\n")
	}
	t.say("%s\n", t.bold(fmt.Sprintf("%d. %s", t.step, title)))
	began := time.Now()
	err := step(ctx)
	if err == nil {
		t.say("   done in %s\n", elapsed(began))
		return t.app.stdout.broken
	}
	if cause := context.Cause(ctx); cause != nil && client.KindOf(err) != client.ErrInternal {
		err = cause
	}
	return fmt.Errorf("step %d failed: %s", t.step, plainError(err))
}

// say prints for the person who watches. A failure shows at the end of the step.
func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.app.stdout, format, args...) }

// typed prints a command as a person would type it.
func (t *tour) typed(format string, args ...any) { t.say("   $ "+format+"\n", args...) }

// bold makes text bold where that is welcome.
func (t *tour) bold(text string) string {
	env := t.app.env
	if env.Getenv("NO_COLOR") != "" || env.Getenv("TERM") == "" || env.Getenv("TERM") == "dumb" || !env.IsTerminal(env.Stdout) {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// elapsed returns the time since began, for people.
func elapsed(began time.Time) string {
	d := time.Since(began)
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// end ends the servers and removes the tour's files. A second signal does not
// wait for them to end in order.
func (t *tour) end() {
	for _, s := range t.servers {
		s.terminate()
	}
	for _, s := range t.servers {
		select {
		case <-s.done:
			continue
		case <-t.app.second:
		case <-time.After(demoLimit):
		}
		s.kill()
	}
	_ = os.RemoveAll(t.dir) // nothing more to be done about what cannot be removed
}

// printKept tells how to reach, and how to stop, what --keep left running.
func (t *tour) printKept() error {
	var pids []string
	for _, s := range t.servers {
		if !s.ended() {
			pids = append(pids, fmt.Sprint(s.cmd.Process.Pid))
		}
	}
	t.say("\nThe circuit keeps running. To reach it:\n\n  export CIRCUIT=%s\n  circuit ls /...\n", t.servers[0].file)
	t.say("\nTo stop it:\n\n  kill %s; rm -r %s\n", strings.Join(pids, " "), t.dir)
	return t.app.stdout.broken
}

// path returns the name of one of the tour's files.
func (t *tour) path(name string) string { return filepath.Join(t.dir, name) }
