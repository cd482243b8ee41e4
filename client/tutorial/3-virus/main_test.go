package main

import (
	"strings"
	"testing"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/client/tutorial/circuittest"
)

func TestMain(m *testing.M) { circuittest.Main(m, main) }

// cells returns the processes of the virus by role; ok is false unless there
// is just one of each.
func cells(t *testing.T, c *circuittest.Circuit) (found map[string]*client.Proc, ok bool) {
	t.Helper()
	found = make(map[string]*client.Proc)
	n := 0
	for e, err := range c.Client().Root().ViewAll(t.Context()) {
		if err != nil || e.Kind != client.KindProc || e.State != "running" {
			continue // a server that has just been killed may not answer
		}
		n++
		role, _, _ := strings.Cut(e.Path.Base(), "-")
		found[role] = c.Client().Anchor(e.Path).Proc()
	}
	return found, n == 2 && len(found) == 2
}

// settled waits until the virus is whole, without the process that died.
func settled(t *testing.T, c *circuittest.Circuit, dead client.Path) map[string]*client.Proc {
	t.Helper()
	var found map[string]*client.Proc
	c.Eventually("the virus is whole", func() (ok bool) {
		found, ok = cells(t, c)
		return ok && found[nucleus].Path() != dead && found[payload].Path() != dead
	})
	return found
}

func TestVirus(t *testing.T) {
	c := circuittest.Start(t, 5)
	out, err := c.Run()
	if err != nil || len(out) != 1 || !strings.Contains(out[0], "/tutorial/virus/nucleus-") {
		t.Fatalf("%v, printed %q", err, out)
	}
	now := settled(t, c, client.Path{})

	kill := func(p *client.Proc) {
		if err := p.Signal(t.Context(), "KILL"); err != nil {
			t.Fatal(err)
		}
	}
	killServer := func(p *client.Proc) {
		id, _ := p.Path().Server()
		c.Kill(id)
	}
	for _, step := range []struct {
		name string
		role string
		kill func(*client.Proc)
	}{
		{"the payload is killed", payload, kill},
		{"the nucleus is killed", nucleus, kill},
		{"the payload's server is killed", payload, killServer},
		{"the nucleus's server is killed", nucleus, killServer},
	} {
		before := now
		step.kill(now[step.role])
		now = settled(t, c, before[step.role].Path())
		for role, p := range now {
			if same := p.Path() == before[role].Path(); same != (role != step.role) {
				t.Errorf("%s: the %s was %v, is %v", step.name, role, before[role].Path(), p.Path())
			}
		}
		one, _ := now[nucleus].Path().Server()
		two, _ := now[payload].Path().Server()
		if one == two {
			t.Errorf("%s: both are on %v", step.name, one)
		}
	}

	if err := now[nucleus].Signal(t.Context(), cure); err != nil {
		t.Fatal(err)
	}
	c.Eventually("the virus is cured", func() bool {
		found, _ := cells(t, c)
		return len(found) == 0
	})
}

func TestVirusRefusesArguments(t *testing.T) {
	c := circuittest.Start(t, 1)
	for _, args := range [][]string{{"spleen", "/", "/"}, {nucleus}, {nucleus, "here"}, {nucleus, "/", "there"}} {
		if out, err := c.Run(args...); err == nil {
			t.Errorf("%q: exits 0, printed %q", args, out)
		}
	}
}
