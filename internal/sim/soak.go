package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// quietBound is how long after the last fault all views must be equal again: a
// server that came back from the dead too often waits up to a minute.
const quietBound = 100 * time.Second

// Result is how a soak went.
type Result struct {
	Servers int           // made in all
	Time    time.Duration // simulated
	Steps   int           // of all machines
	Settled time.Duration // from the last fault until all was well again
	Hash    uint64
	Story   []string // the faults, in order
	Err     error    // nil if all promises were kept
}

// soak is one random story.
type soak struct {
	*Sim
	rng   *rand.Rand
	seed  *Server // which all others know from the beginning
	story []string
	last  time.Duration // when the last fault is over
}

// Soak runs one random story, of a size and with faults drawn from seed, and
// checks all promises. The same seed tells the same story.
func Soak(seed uint64) Result {
	rng := rand.New(rand.NewPCG(seed, 0x50a4))
	cfg := Config{Seed: seed}
	switch rng.IntN(3) {
	case 1:
		cfg.Delay, cfg.Jitter = time.Millisecond, 5*time.Millisecond
	case 2:
		cfg.Delay, cfg.Jitter = time.Duration(1+rng.IntN(30))*time.Millisecond, 10*time.Millisecond
	}
	if rng.IntN(2) == 0 {
		cfg.Stall = rng.Float64() * 0.05
	}
	k := &soak{Sim: New(cfg), rng: rng}
	n := 2 + rng.IntN(15)
	if rng.IntN(20) == 0 {
		n = 17 + rng.IntN(16)
	}
	k.tell("%d servers, delay %v, stall %.3f", n, cfg.Delay, cfg.Stall)
	for range n {
		k.Add()
	}
	k.seed = k.Servers()[0]
	for _, h := range k.Servers() {
		k.After(k.within(2*time.Second), func() { k.start(h) })
	}
	k.Run(5 * time.Second)
	for range 3 + rng.IntN(12) {
		k.fault()
		k.Run(k.within(8 * time.Second))
	}
	k.end()
	res := Result{Servers: len(k.Servers())}
	last := k.Now()
	ok := k.RunUntil(quietBound, func() bool { return k.Settled() == nil && k.Meshed() == nil })
	res.Settled = k.Now() - last
	k.Run(10 * time.Second)
	ok = ok && k.RunUntil(5*time.Second, func() bool { return k.Settled() == nil && k.Meshed() == nil })
	switch fs := k.Failures(); {
	case len(fs) > 0:
		res.Err = fs[0]
	case !ok:
		res.Err = fmt.Errorf("not one circuit %v after the last fault: %v; %v", quietBound, k.Settled(), k.Meshed())
	}
	res.Time, res.Steps, res.Hash, res.Story = k.Now(), k.Steps(), k.Hash(), k.story
	return res
}

func (k *soak) tell(format string, args ...any) {
	k.story = append(k.story, fmt.Sprintf("%8.3fs ", k.Now().Seconds())+fmt.Sprintf(format, args...))
}

func (k *soak) within(d time.Duration) time.Duration { return time.Duration(k.rng.Int64N(int64(d))) }

// later ends a fault after a while.
func (k *soak) later(d time.Duration, do func()) {
	k.last = max(k.last, k.Now()+d)
	k.After(d, do)
}

// start starts a server with the common seed, and perhaps another.
func (k *soak) start(h *Server) {
	seeds := []string{k.seed.Address}
	if k.rng.IntN(3) == 0 {
		seeds = append(seeds, k.any().Address)
	}
	k.Start(h, seeds...)
}

func (k *soak) any() *Server { return k.Servers()[k.rng.IntN(len(k.Servers()))] }

// fault lets one thing go wrong, and lets most be put right again.
func (k *soak) fault() {
	h := k.any()
	back := k.within(20 * time.Second)
	switch k.rng.IntN(10) {
	case 0:
		k.tell("crash %s, back after %v", h.Name, back)
		k.Crash(h)
		k.later(back, func() { k.start(h) })
	case 1:
		k.tell("restart %s at once", h.Name)
		k.Crash(h)
		k.start(h)
	case 2:
		k.tell("leave %s, back after %v", h.Name, back+2*time.Second)
		k.Leave(h)
		k.later(back+2*time.Second, func() { k.start(h) })
	case 3:
		k.tell("vanish %s, back after %v", h.Name, back)
		k.Vanish(h)
		k.later(back, func() { k.start(h) })
	case 4:
		k.tell("freeze %s for %v", h.Name, back)
		k.Freeze(h)
		k.later(back, func() { k.Thaw(h) })
	case 5:
		o := k.any()
		k.tell("cut %s -> %s for %v", h.Name, o.Name, back)
		if o != h {
			if len(k.Servers()) <= 5 { // too few are left to say otherwise
				k.disturb(h)
				k.disturb(o)
			}
			k.Cut(h, o)
			k.later(back, func() { k.Mend(h, o) })
		}
	case 6, 7:
		groups := make([][]*Server, 2+k.rng.IntN(2))
		for _, o := range k.Servers() {
			g := k.rng.IntN(len(groups))
			groups[g] = append(groups[g], o)
		}
		k.tell("partition %v for %v", groups, back)
		k.Partition(groups...)
		k.later(back, k.Heal)
	case 8:
		most := 100*time.Millisecond + k.within(700*time.Millisecond)
		k.tell("all stand still for up to %v at a time, for %v", most, back)
		for _, o := range k.Servers() {
			k.Starve(o, most, back)
		}
		k.later(back, func() {})
	case 9:
		n := 1 + k.rng.IntN(4)
		k.tell("%d more servers", n)
		for range n {
			o := k.Add()
			k.later(k.within(time.Second), func() { k.start(o) })
		}
	}
}

// end puts everything right, so that one circuit is possible.
func (k *soak) end() {
	k.tell("all put right")
	k.Run(k.last - k.Now())
	k.Heal()
	for _, h := range k.Servers() {
		k.Thaw(h)
	}
	if k.seed.proc == nil {
		k.Start(k.seed)
	}
}
