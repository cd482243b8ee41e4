package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// pick takes a server that is not the seed out of those that are there, to end it.
func (h *host) pick() *member {
	i := 1 + h.rand.IntN(len(h.all)-1)
	m := h.all[i]
	h.all = slices.Delete(h.all, i, i+1)
	m.doomed.Store(true)
	return m
}

// bury ends what is left of a server.
func (h *host) bury(ctx context.Context, m *member) {
	m.kill()
	h.kind.unwatch(ctx, m)
	h.views.forget(m.id)
}

// costs measures the bytes of a change, beyond those of as long an idle time,
// while nobody watches the servers.
func (h *host) costs(ctx context.Context) error {
	var idle float64 // bytes a second of all
	for _, f := range h.figures {
		if f.Name == idleBytes {
			idle = f.Value * float64(h.Servers)
		}
	}
	during := func(change func() error) (float64, error) {
		before, err := h.meter.read()
		if err == nil {
			err = change()
		}
		if err == nil {
			err = pause(ctx, h.seconds(20, 10))
		}
		after, err2 := h.meter.read()
		if err == nil {
			err = err2
		}
		return (after.bytes - before.bytes - idle*after.at.Sub(before.at).Seconds()) / float64(h.Servers), err
	}
	join := func() error {
		m, err := h.kind.start(h.all[0])
		if err == nil {
			h.all = append(h.all, m)
		}
		return err
	}
	changes := []struct {
		name string
		make func() error
	}{
		{bytesOfKill, func() error { h.bury(ctx, h.pick()); return nil }},
		{bytesOfJoin, join},
		{bytesOfLeave, func() error {
			m := h.pick()
			m.leave()
			<-m.gone
			h.bury(ctx, m)
			return nil
		}},
		{bytesOfJoin, join},
	}
	rounds := make(map[string][]float64)
	for range h.lab.rounds(3, 1) {
		for _, c := range changes {
			cost, err := during(c.make)
			if err != nil {
				return err
			}
			rounds[c.name] = append(rounds[c.name], cost)
		}
	}
	for _, name := range []string{bytesOfJoin, bytesOfKill, bytesOfLeave} {
		h.tell(over(name, "B", 0, rounds[name]))
	}
	return nil
}

// latency is how long it took until all knew of changes of one kind.
type latency struct {
	took   []float64 // seconds
	unseen int       // changes that not all knew of when patience ended
}

// changePatience is how long a change may take to be known to all.
const changePatience = 60 * time.Second

// await waits until all know that a server is there, or is not.
func (h *host) await(ctx context.Context, l *latency, m *member, present bool, begin time.Time) {
	names := ids(h.all)
	var last time.Time
	if !h.views.await(ctx, changePatience, func() (all bool) {
		last, all = h.views.known(m.id, present, names)
		return all
	}) {
		last = time.Now()
		l.unseen++
	}
	l.took = append(l.took, last.Sub(begin).Seconds())
}

// figures returns the median, and the worst if it has a name.
func (l *latency) figures(median, worst, unit string, perSecond float64) []figure {
	scaled := make([]float64, len(l.took))
	for i, s := range l.took {
		scaled[i] = s * perSecond
	}
	f := over(median, unit, 0, scaled)
	if l.unseen > 0 {
		f.Note = fmt.Sprintf("%d of %d not known to all after %v", l.unseen, len(l.took), changePatience)
	}
	if worst == "" {
		return []figure{f}
	}
	return []figure{f, {Name: worst, Unit: unit, Value: f.Max, Note: f.Note}}
}

// changes measures how long it takes until every server knows of a change.
func (h *host) changes(ctx context.Context) error {
	if err := h.watch(ctx); err != nil {
		return err
	}
	var fromExec, fromListening, killed, frozen, left latency
	join := func() error {
		m, err := h.kind.start(h.all[0])
		if err != nil {
			return err
		}
		h.await(ctx, &fromListening, m, true, m.ready)
		fromExec.took = append(fromExec.took, fromListening.took[len(fromListening.took)-1]+m.ready.Sub(m.begun).Seconds())
		if err := h.kind.watch(ctx, m); err != nil {
			return err
		}
		h.all = append(h.all, m)
		return h.rest(ctx)
	}
	lose := func(l *latency, how func(*member)) error {
		if err := h.rest(ctx); err != nil {
			return err
		}
		m := h.pick()
		begin := time.Now()
		how(m)
		h.await(ctx, l, m, false, begin)
		h.bury(ctx, m)
		if err := h.rest(ctx); err != nil {
			return err
		}
		return join()
	}
	rounds := h.lab.rounds(10, 3)
	if h.Of != ofCircuit {
		rounds = h.lab.rounds(3, 1)
	}
	for range rounds {
		for _, c := range []struct {
			l   *latency
			how func(*member)
		}{
			{&killed, func(m *member) { m.cmd.Process.Kill() }},
			{&frozen, (*member).freeze},
			{&left, (*member).leave},
		} {
			if err := lose(c.l, c.how); err != nil {
				return err
			}
		}
	}
	h.figures = slices.Concat(h.figures,
		fromListening.figures(joinListening, "", "ms", 1000), fromExec.figures(joinExec, "", "ms", 1000),
		killed.figures(killMedian, killWorst, "ms", 1000), frozen.figures(freezeMedian, freezeWorst, "s", 1),
		left.figures(leaveMedian, "", "ms", 1000))
	return nil
}

// rest waits until all agree again, and a while longer.
func (h *host) rest(ctx context.Context) error {
	if _, n := h.agree(ctx, changePatience); n < len(h.all) {
		return fmt.Errorf("%d of %d servers see all others, %v after a change", n, len(h.all), changePatience)
	}
	return pause(ctx, h.seconds(2, 1))
}
