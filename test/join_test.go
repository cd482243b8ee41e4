package test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAllAtOnce starts servers at the same instant, the one that all others join
// last, and wants each to list them all within 5 seconds.
func TestAllAtOnce(t *testing.T) {
	rounds, n := size(2, 20), size(8, 16)
	for round := range rounds {
		w := newWorld(t)
		w.must(t, "", "keygen", "key")
		seed, err := freeAddr("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		servers := w.atOnce(t, n, seed)
		began := time.Now()
		for _, s := range servers {
			if err := w.ready(s); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range servers {
			w.await(t, 5*time.Second-time.Since(began), fmt.Sprintf("%s of round %d lists all", s.name, round), func() bool {
				return len(w.listWithKey(s)) == n
			})
		}
		t.Logf("round %d: all list all after %v", round, time.Since(began).Round(time.Millisecond))
		w.close()
	}
}

// atOnce starts n servers at once, the one at seed a moment after the others.
func (w *world) atOnce(t *testing.T, n int, seed string) []*server {
	t.Helper()
	servers := make([]*server, n)
	errs := make([]error, n)
	var launched sync.WaitGroup
	for i := range n - 1 {
		launched.Go(func() { servers[i], errs[i] = w.launch(fmt.Sprintf("s%d", i), "--key", "key", "-j", seed) })
	}
	launched.Wait()
	servers[n-1], errs[n-1] = w.launch("seed", "--key", "key", "-a", seed, "-j", seed)
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return servers
}

// listWithKey is list where the key is in a file.
func (w *world) listWithKey(s *server) []string {
	r := w.run("", "ls", "--key", "key", "-d", s.url, "/")
	if r.code != 0 {
		return nil
	}
	return strings.Fields(strings.ReplaceAll(r.stdout, "---- ", ""))
}

// TestKilledServer kills one of several servers and wants it gone from the
// others' lists in 2 seconds, and listing never to fail meanwhile.
func TestKilledServer(t *testing.T) {
	w := newWorld(t)
	n := size(5, 8)
	servers := w.circuit(t, n)
	victim, others := servers[n/2], slices.Delete(slices.Clone(servers), n/2, n/2+1)

	var watchers sync.WaitGroup
	began := time.Now()
	if err := victim.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, s := range others {
		watchers.Go(func() {
			took, gone := pollFor(2*time.Second, func() bool {
				list := w.list(s)
				if len(list) < n-1 {
					t.Errorf("%s lists %d servers of %d", s.name, len(list), n-1)
				}
				return !slices.Contains(list, victim.path)
			})
			if !gone {
				t.Errorf("%s still lists the killed server after %v", s.name, took)
			}
		})
	}
	watchers.Wait()
	t.Logf("gone from all %d lists after %v", n-1, time.Since(began).Round(time.Millisecond))
}
