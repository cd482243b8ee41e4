package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"
)

// job is what a host is to do.
type job struct {
	What    string // presence or crowd
	Of      string // circuit, memberlist or serf
	Servers int
	Quick   bool
	Program string // of the circuit
	Dir     string // for its servers
}

const (
	roleHost  = "host"
	ofCircuit = "circuit"
)

// host runs the servers of one job in namespaces of its own, and measures them.
type host struct {
	job
	lab     *lab // of its servers of the circuit
	views   *views
	kind    members
	meter   *meter
	rand    *rand.Rand // who is killed
	all     []*member  // the first is the seed, which stays
	figures []figure
}

// playHost is main of the host: it prints its figures as JSON. All that it started
// ends with it.
func playHost(text string) int {
	h := &host{views: newViews(), rand: rand.New(rand.NewPCG(1, 2))}
	err := json.Unmarshal([]byte(text), &h.job)
	if err == nil {
		err = settleIn()
	}
	if err == nil {
		h.meter, err = newMeter()
	}
	if err == nil {
		err = h.run(context.Background())
	}
	for i := range h.figures {
		h.figures[i].Of, h.figures[i].Servers = h.Of, h.Servers
	}
	if err := json.NewEncoder(os.Stdout).Encode(h.figures); err != nil {
		return 1
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (h *host) run(ctx context.Context) error {
	h.lab = &lab{quick: h.Quick, dir: h.Dir, program: h.Program}
	if h.Of == ofCircuit {
		h.kind = &circuits{lab: h.lab, views: h.views}
	} else {
		h.kind = &gossipers{role: h.Of, views: h.views}
	}
	steps := []func(context.Context) error{h.joinTogether, h.idle, h.costs, h.changes}
	if h.What == crowdName {
		steps = []func(context.Context) error{h.gather, h.list, h.idle}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// seconds returns n seconds, or fewer when it is to be quick.
func (h *host) seconds(n, quick int) time.Duration {
	return time.Duration(h.lab.rounds(n, quick)) * time.Second
}

// tell adds a figure.
func (h *host) tell(f figure) { h.figures = append(h.figures, f) }

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func ids(all []*member) []string {
	out := make([]string, len(all))
	for i, m := range all {
		out[i] = m.id
	}
	return out
}

// add starts n servers, so many at the same time, which join through the seed,
// or are it.
func (h *host) add(n, atOnce int) error {
	var seed *member
	if len(h.all) > 0 {
		seed = h.all[0]
	}
	added := make([]*member, n)
	err := each(n, atOnce, func(i int) (err error) {
		added[i], err = h.kind.start(seed)
		return err
	})
	h.all = append(h.all, added...)
	return err
}

// watch watches all servers.
func (h *host) watch(ctx context.Context) error {
	return each(len(h.all), 2, func(i int) error { return h.kind.watch(ctx, h.all[i]) })
}

// each calls do with every number below n, so many at the same time.
func each(n, atOnce int, do func(int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			errs[i] = do(i)
			<-slots
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// agree waits until all servers see exactly each other.
func (h *host) agree(ctx context.Context, patience time.Duration) (last time.Time, n int) {
	names := ids(h.all)
	h.views.await(ctx, patience, func() bool {
		last, n = h.views.exact(names)
		return n == len(names)
	})
	return last, n
}

// clear kills all.
func (h *host) clear(ctx context.Context) {
	for _, m := range h.all {
		m.doomed.Store(true)
		m.kill()
	}
	for _, m := range h.all {
		h.kind.unwatch(ctx, m)
		h.views.forget(m.id)
	}
	h.all = nil
}

// joinTogether starts all at once, but for the seed, which is there, and asks
// them some seconds later since when they know each other. It leaves them running.
func (h *host) joinTogether(ctx context.Context) error {
	rounds, patience := h.lab.rounds(5, 3), 30*time.Second
	if h.Of != ofCircuit {
		rounds, patience = 1, h.seconds(300, 100)
	}
	var took, listening []float64
	note := ""
	for range rounds {
		h.clear(ctx)
		if err := h.add(1, 1); err != nil {
			return err
		}
		begin := time.Now()
		if err := h.add(h.Servers-1, h.Servers); err != nil {
			return err
		}
		if err := pause(ctx, h.seconds(5, 3)); err != nil {
			return err
		}
		if err := h.watch(ctx); err != nil {
			return err
		}
		ready := slices.MaxFunc(h.all, func(a, b *member) int { return a.ready.Compare(b.ready) }).ready
		last, n := h.agree(ctx, patience)
		if n < h.Servers {
			last = time.Now()
			note = fmt.Sprintf("only %d views exact then", n)
		}
		took = append(took, last.Sub(begin).Seconds())
		listening = append(listening, ready.Sub(begin).Seconds())
	}
	f := over(allAtOnce, "s", 0, took)
	f.Note = note
	h.tell(over(allListen, "s", 0, listening))
	h.tell(f)
	if note == "" {
		return nil
	}
	h.clear(ctx)
	return h.gather(ctx)
}

// gather lets the servers join a few at a time.
func (h *host) gather(ctx context.Context) error {
	if err := h.add(1, 1); err != nil {
		return err
	}
	if err := h.add(h.Servers-1, 2); err != nil {
		return err
	}
	if h.What == crowdName { // whose servers are asked instead
		return nil
	}
	if err := h.watch(ctx); err != nil {
		return err
	}
	if _, n := h.agree(ctx, 5*time.Minute); n < h.Servers {
		return fmt.Errorf("%d of %d servers see all others", n, h.Servers)
	}
	return nil
}

// idle measures servers that nobody watches or uses.
func (h *host) idle(ctx context.Context) error {
	for _, m := range h.all {
		h.kind.unwatch(ctx, m)
	}
	if err := pause(ctx, h.seconds(30, 20)); err != nil { // new links say more for a while
		return err
	}
	spent, err := efforts(h.all)
	if err != nil {
		return err
	}
	before, err := h.meter.read()
	if err != nil {
		return err
	}
	if err := pause(ctx, h.seconds(60, 15)); err != nil {
		return err
	}
	after, err := h.meter.read()
	if err != nil {
		return err
	}
	now, err := efforts(h.all)
	if err != nil {
		return err
	}
	per := 1 / after.at.Sub(before.at).Seconds() / float64(h.Servers)
	h.tell(figure{Name: idleBytes, Unit: "B/s", Value: (after.bytes - before.bytes) * per})
	h.tell(figure{Name: idlePackets, Unit: "/s", Value: (after.packets - before.packets) * per})
	h.tell(figure{Name: wakeUps, Unit: "/s", Value: (now.switches - spent.switches) * per})
	h.tell(figure{Name: idleCPU, Unit: "ms/s", Value: (now.cpu - spent.cpu).Seconds() * 1000 * per})
	if h.Of == ofCircuit { // the peers are in this program, which has more in it than they need
		return h.memory()
	}
	return nil
}

func (h *host) memory() error {
	var anonymous, resident []float64
	for _, m := range h.all {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
		if err != nil {
			return err
		}
		anonymous = append(anonymous, field(status, "RssAnon"))
		resident = append(resident, field(status, "VmRSS"))
	}
	h.tell(over(memoryAnonymous, "MiB", 0, anonymous))
	h.tell(over(memoryResident, "MiB", 0, resident))
	return nil
}
