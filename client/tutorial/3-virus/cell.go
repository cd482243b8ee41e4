package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gocircuit/circuit/client"
)

// pause is how long to wait before asking again what did not work.
const pause = 200 * time.Millisecond

// cell is one of the two processes of the virus.
type cell struct {
	client  *client.Client
	role    string
	self    client.Path
	partner *client.Proc // nil if there is none yet
}

// live watches the partner, and replaces it whenever it dies, until the cure.
func (v *cell) live(ctx context.Context) error {
	other := payload
	if v.role == payload {
		other = nucleus
	}
	for {
		if v.partner == nil {
			partner, err := v.spawn(ctx, other)
			if err != nil {
				return err
			}
			v.partner = partner
			fmt.Printf("%v has a new %s: %v\n", v.self, other, partner.Path())
		}
		cured, err := v.watch(ctx)
		if err != nil || cured {
			return err
		}
		fmt.Printf("%v is dead\n", v.partner.Path())
		v.partner = nil
	}
}

// cure is the signal that ends the virus: who dies of it is not replaced, and
// the partner ends as well.
const cure = "INT"

// watch returns when the partner is dead, and tells whether of the cure.
func (v *cell) watch(ctx context.Context) (cured bool, err error) {
	for {
		stat, err := v.partner.Wait(ctx)
		switch {
		case err == nil:
			_ = v.partner.Scrub(ctx) // no matter if it stays
			return stat.Signal == cure || stat.ExitCode == 0, nil
		case errors.Is(err, client.ErrNotFound):
			return false, nil // somebody scrubbed it
		case ctx.Err() != nil:
			return false, err
		}
		// Its server cannot be reached. Is it still one of the circuit?
		members, err := v.members(ctx)
		if err != nil {
			return false, err // ours is gone, and so are we
		}
		id, _ := v.partner.Path().Server()
		if _, there := members[id]; !there {
			return false, nil
		}
		time.Sleep(pause)
	}
}

// members returns the servers of the circuit.
func (v *cell) members(ctx context.Context) (map[client.ServerID]client.Member, error) {
	members := make(map[client.ServerID]client.Member)
	for m, err := range v.client.Servers(ctx) {
		if err != nil {
			return nil, err
		}
		members[m.ID] = m
	}
	return members, nil
}

// spawn starts this program again in a role, on a server other than this
// one's, if there is any.
func (v *cell) spawn(ctx context.Context, role string) (*client.Proc, error) {
	var last error
	for range 50 {
		members, err := v.members(ctx)
		if err != nil {
			return nil, err
		}
		if mine, ok := v.self.Server(); ok && len(members) > 1 {
			delete(members, mine)
		}
		for _, m := range members { // in random order
			p, err := v.spawnAt(ctx, role, m)
			if err == nil {
				return p, nil
			}
			last = err
		}
		time.Sleep(pause)
	}
	return nil, fmt.Errorf("no server takes a %s: %w", role, last)
}

// spawnAt starts this program again in a role on a server. The program must be
// there under the same name as here.
func (v *cell) spawnAt(ctx context.Context, role string, m client.Member) (*client.Proc, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("tutorial/virus/%s-%08x", role, rand.Uint32())
	a, err := v.client.Server(m.ID).Anchor().Walk(name)
	if err != nil {
		return nil, err
	}
	u, err := v.client.URL(m)
	if err != nil {
		return nil, err
	}
	args := []string{role, a.String()}
	if !v.self.IsRoot() {
		args = append(args, v.self.String())
	}
	// The new process dials in at its own server, which lives as long as it.
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "CIRCUIT=") })
	return a.MakeProc(ctx, client.Cmd{
		Path: program,
		Args: args,
		Env:  append(env, "CIRCUIT="+u.Secret()),
	})
}
