package sim

import (
	"errors"
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
	Hours   float64       // the same for each server that ran
	Traffic Traffic
	Deaths  int           // how often a server said that another failed which ran
	Settled time.Duration // from the last fault until all was well again
	Hash    uint64
	Story   []string // the faults, in order; with the trace, if it was wanted
	Err     error    // nil if all promises were kept
}

// soak is one random story.
type soak struct {
	*Sim
	rng   *rand.Rand
	seed  *Server // which all others know from the beginning
	story []string
	last  time.Duration // when the last fault is over
	trace bool
	casts int
	rates [17]float64 // of the kinds of faults, relative to each other
}

// Soak runs one random story, of a size and with faults drawn from seed, and
// checks all promises. The same seed tells the same story. With trace there is a
// line of the trace for each second of it.
func Soak(seed uint64, trace bool) Result {
	rng := rand.New(rand.NewPCG(seed, 0x50a4))
	cfg := Config{Seed: seed, NoDatagrams: rng.IntN(8) == 0}
	switch rng.IntN(3) {
	case 1:
		cfg.Delay, cfg.Jitter = time.Millisecond, 5*time.Millisecond
	case 2:
		cfg.Delay, cfg.Jitter = time.Duration(1+rng.IntN(30))*time.Millisecond, 10*time.Millisecond
	}
	switch rng.IntN(10) {
	case 0, 1, 2, 3:
		cfg.Loss = rng.Float64() * 0.05
	case 4:
		cfg.Loss = rng.Float64() * 0.25
	}
	k := &soak{Sim: New(cfg), rng: rng, trace: trace}
	for i := range k.rates {
		k.rates[i] = rng.ExpFloat64()
	}
	n := 2 + rng.IntN(15)
	switch rng.IntN(50) {
	case 0, 1, 2, 3:
		n = 17 + rng.IntN(48)
	case 4:
		n = 65 + rng.IntN(64)
	}
	k.tell("%d servers, delay %v and up to %v, loss %.3f, datagrams %v", n, k.cfg.Delay, k.cfg.Jitter, cfg.Loss, !cfg.NoDatagrams)
	for range n {
		k.Add()
	}
	k.seed = k.Servers()[0]
	for _, h := range k.Servers() {
		k.After(k.within(2*time.Second), func() { k.start(h) })
	}
	k.pass(5 * time.Second)
	pause := 200*time.Millisecond + k.within(10*time.Second)
	for range 3 + rng.IntN(12) {
		k.fault()
		k.pass(k.within(2 * pause))
	}
	k.end()
	res := Result{Servers: len(k.Servers())}
	last := k.Now()
	ok := k.until(quietBound)
	res.Settled = k.Now() - last
	k.pass(10 * time.Second)
	ok = ok && k.until(5*time.Second)
	switch fs := k.Failures(); {
	case len(fs) > 0:
		res.Err = errors.Join(fs...)
	case !ok:
		res.Err = fmt.Errorf("not one circuit %v after the last fault: %v", quietBound, k.Well())
	default:
		res.Err = errors.Join(k.broadcast(), k.Missed(30*time.Second), k.Bounded())
	}
	res.Time, res.Hours, res.Traffic, res.Hash, res.Story = k.Now(), k.ServerHours(), k.Traffic(), k.Hash(), k.story
	res.Deaths = k.Deaths()
	return res
}

// broadcast lets a few servers broadcast something in the quiet circuit, which
// all others must get.
func (k *soak) broadcast() error {
	for range 3 {
		h := k.any()
		k.casts++
		data := fmt.Sprintf("last words %d of %s", k.casts, h.Name)
		k.Broadcast(h, data)
		all := len(k.Servers()) - 1
		if !k.RunUntil(k.castBound(), func() bool { return k.Got(data) == all }) {
			return fmt.Errorf("%d of %d servers got what %s broadcast in a quiet circuit, after %v", k.Got(data), all, h.Name, k.castBound())
		}
		k.pass(5 * time.Second) // none may get it twice
	}
	if fs := k.Failures(); len(fs) > 0 {
		return fs[0]
	}
	bound := 10 * time.Second
	if k.cfg.Loss > 0.1 { // suspicions and refutations never cease, and links come and go
		bound = quietBound
	}
	if !k.until(bound) {
		return k.Well()
	}
	return nil
}

// castBound is how long a broadcast in the quiet circuit may take. Where nothing
// is lost that is a few hops. Where packets are, a connection sends each again
// after 0.2 s, 0.4 s, 0.8 s and so on: of those of which a quarter is lost, one in
// 250,000 takes more than nine attempts, and so more than the bound.
func (k *soak) castBound() time.Duration {
	if k.cfg.Loss == 0 {
		return time.Second
	}
	return retransmit << 9
}

// until lets time pass until all is well, and reports whether it is.
func (k *soak) until(d time.Duration) bool {
	for end := k.Now() + d; k.Now() < end; {
		step := d
		if k.trace {
			step = time.Second
		}
		if k.RunUntil(min(step, end-k.Now()), func() bool { return k.Well() == nil }) {
			return true
		}
		k.line()
	}
	return false
}

// pass lets time pass.
func (k *soak) pass(d time.Duration) {
	for end := k.Now() + d; k.Now() < end; k.line() {
		step := d
		if k.trace {
			step = time.Second
		}
		k.Run(min(step, end-k.Now()))
	}
}

func (k *soak) line() {
	if k.trace {
		k.story = append(k.story, k.Line())
	}
}

func (k *soak) tell(format string, args ...any) {
	k.story = append(k.story, fmt.Sprintf("%8.3f ", k.Now().Seconds())+fmt.Sprintf(format, args...))
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
	if k.rng.IntN(2) == 0 { // it has no data directory
		h.remembered = nil
	}
	k.Start(h, seeds...)
}

func (k *soak) any() *Server { return k.Servers()[k.rng.IntN(len(k.Servers()))] }

// some returns up to n servers that stand side by side, as in a rack.
func (k *soak) some(n int) []*Server {
	from := k.rng.IntN(len(k.Servers()))
	return k.Servers()[from:min(from+1+k.rng.IntN(n), len(k.Servers()))]
}

// kind draws a kind of fault.
func (k *soak) kind() int {
	sum := 0.0
	for _, rate := range k.rates {
		sum += rate
	}
	at := k.rng.Float64() * sum
	for i, rate := range k.rates {
		if at -= rate; at < 0 {
			return i
		}
	}
	return 0
}

// fault lets one thing go wrong, and lets most be put right again.
func (k *soak) fault() {
	back := k.within(20 * time.Second)
	switch k.kind() {
	case 0, 1, 2, 3, 4:
		k.stopOne(k.any(), back)
	case 5:
		h, o := k.any(), k.any()
		k.tell("cut %s -> %s for %v", h.Name, o.Name, back)
		k.block(h, o, back, k.Cut)
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
	case 9, 10:
		n := 1 + k.rng.IntN(4)
		if k.rng.IntN(4) == 0 {
			n = 1 + k.rng.IntN(32)
		}
		k.tell("%d more servers", n)
		for range n {
			o := k.Add()
			k.later(k.within(time.Second), func() { k.start(o) })
		}
	case 11:
		rack := k.some(8)
		k.tell("vanish %v, back after %v", rack, back)
		for _, h := range rack {
			k.Vanish(h)
			k.later(back, func() { k.start(h) })
		}
	case 12:
		h, each := k.any(), 200*time.Microsecond<<k.rng.IntN(8)
		k.tell("%s takes %v for everything, for %v", h.Name, each, back)
		k.Slow(h, each)
		k.later(back, func() { k.Slow(h, 0) })
	case 13:
		h, by := k.any(), k.within(time.Minute)
		k.tell("the clock of %s jumps by %v", h.Name, by)
		k.Jump(h, by)
	case 14, 15:
		for range 1 + k.rng.IntN(5) {
			k.casts++
			k.Broadcast(k.any(), fmt.Sprint("word ", k.casts))
		}
		k.tell("broadcasts up to %d", k.casts)
	case 16:
		h := k.any()
		some := k.some(3)
		k.tell("refused between %s and %v for %v", h.Name, some, back)
		for _, o := range some {
			k.block(h, o, back, k.Reject)
			k.block(o, h, back, k.Reject)
		}
	}
}

// stopOne stops a server in one of several ways, and starts it again.
func (k *soak) stopOne(h *Server, back time.Duration) {
	switch k.rng.IntN(5) {
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
	}
}

// block blocks a way for a while.
func (k *soak) block(h, o *Server, back time.Duration, how func(from, to *Server)) {
	if o == h {
		return
	}
	if len(k.Servers()) <= 5 { // too few are left to say otherwise
		k.disturb(h)
		k.disturb(o)
	}
	how(h, o)
	k.later(back, func() { k.Mend(h, o) })
}

// end puts everything right, so that one circuit is possible.
func (k *soak) end() {
	k.pass(k.last - k.Now())
	k.tell("all put right")
	k.Heal()
	for _, h := range k.Servers() {
		k.Slow(h, 0)
		k.Thaw(h)
	}
	for _, h := range k.Servers() {
		if h.proc == nil {
			k.start(h)
		}
	}
}
