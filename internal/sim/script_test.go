package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs the stories in testdata. The commands are:
//
//	world [seed=N] [delay=D] [loss=F] [datagrams=no]
//	                                      a world without servers
//	servers N                             N servers, s1 to sN, that do not run yet
//	clone S                               a server with a copy of S's data directory, at another address
//	start S... [join=S,...]               start processes; join names their seeds, beside whom they remember
//	join S T                              circuit join: S's circuit with T's
//	leave, crash, vanish, freeze, thaw S...
//	slow S... each=D                      S takes D for whatever it deals with; 0s for no time
//	jump S... by=D                        S's clock jumps forward
//	cut S T / mend S T                    what S sends does not reach T
//	forget S...                           lose what S keeps in its data directory, but for its ID
//	partition S,S S,S ... / heal
//	broadcast S WORD                      S broadcasts WORD
//	got WORD                              how many servers got it
//	run D                                 let D pass, and print what was said, by whom, and how soon
//	settle D                              let time pass until all know each other and have the links they want, D at most
//	mesh D                                let time pass until they have no other links either
//	views                                 whom each server knows
//	graph                                 the measures of the graph of links
//
// A server may be written as a range, s2-s5. Times are rounded up to one of a
// few, so that a story outlives small changes.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := &world{Sim: New(Config{Seed: 1})}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := w.command(d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			for _, err := range w.Failures() {
				d.Fatalf(t, "%v", err)
			}
			return out
		})
	})
}

type world struct {
	*Sim
	said int // entries of the log that were printed
}

func (w *world) command(d *datadriven.TestData) (string, error) {
	var args []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			args = append(args, a.Key)
		}
	}
	switch d.Cmd {
	case "world":
		return "", w.begin(d)
	case "run", "settle", "mesh":
		return w.pass(d.Cmd, args)
	case "servers":
		var n int
		fmt.Sscan(args[0], &n)
		for range n {
			w.Add()
		}
		return "", nil
	case "partition":
		var groups [][]*Server
		for _, a := range args {
			groups = append(groups, w.find(strings.Split(a, ",")...))
		}
		w.Partition(groups...)
		return "", nil
	case "heal":
		w.Heal()
		return "", nil
	case "views":
		return w.views(), nil
	case "graph":
		return Measure(w.Graph(), 1).String() + "\n", nil
	case "broadcast":
		w.Broadcast(w.find(args[0])[0], args[1])
		return "", nil
	case "got":
		return fmt.Sprintf("%d servers got it\n", w.Got(args[0])), nil
	}
	return "", w.act(d, w.find(args...))
}

func (w *world) begin(d *datadriven.TestData) error {
	cfg := Config{Seed: 1}
	var err error
	for _, a := range d.CmdArgs {
		switch v := strings.Join(a.Vals, ","); a.Key {
		case "seed":
			cfg.Seed, err = strconv.ParseUint(v, 10, 64)
		case "delay":
			cfg.Delay, err = time.ParseDuration(v)
			cfg.Jitter = cfg.Delay / 10
		case "loss":
			cfg.Loss, err = strconv.ParseFloat(v, 64)
		case "datagrams":
			cfg.NoDatagrams = v == "no"
		}
		if err != nil {
			return err
		}
	}
	w.Sim, w.said = New(cfg), 0
	return nil
}

// argument returns what a command says as key=value.
func argument(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

// act does to servers what a command says.
func (w *world) act(d *datadriven.TestData, hs []*Server) error {
	if len(hs) == 0 {
		return fmt.Errorf("no such server")
	}
	switch d.Cmd {
	case "clone":
		w.AddAs(hs[0].ID, fmt.Sprintf("10.0.9.%d:11022", hs[0].index)).incarnation = hs[0].incarnation
	case "join":
		w.Join(hs[0], hs[1].Address)
	case "slow", "jump":
		span, err := time.ParseDuration(strings.Join(append(argument(d, "each"), argument(d, "by")...), ""))
		if err != nil {
			return err
		}
		do := map[string]func(*Server, time.Duration){"slow": w.Slow, "jump": w.Jump}[d.Cmd]
		for _, h := range hs {
			do(h, span)
		}
	case "cut":
		w.Cut(hs[0], hs[1])
	case "mend":
		w.Mend(hs[0], hs[1])
	case "start":
		var seeds []string
		for _, h := range w.find(argument(d, "join")...) {
			seeds = append(seeds, h.Address)
		}
		for _, h := range hs {
			w.Start(h, seeds...)
		}
	case "leave", "crash", "vanish", "freeze", "thaw", "forget":
		do := map[string]func(*Server){"forget": w.Forget, "leave": w.Leave, "crash": w.Crash, "vanish": w.Vanish, "freeze": w.Freeze, "thaw": w.Thaw}[d.Cmd]
		for _, h := range hs {
			do(h)
		}
	default:
		return fmt.Errorf("unknown command %q", d.Cmd)
	}
	return nil
}

// find returns the servers that names stand for.
func (w *world) find(names ...string) []*Server {
	var hs []*Server
	for _, name := range names {
		var lo, hi int
		if n, _ := fmt.Sscanf(name, "s%d-s%d", &lo, &hi); n == 1 {
			hi = lo
		}
		for _, h := range w.Servers() {
			if h.index >= lo && h.index <= hi {
				hs = append(hs, h)
			}
		}
	}
	return hs
}

// pass lets time pass and tells what was said.
func (w *world) pass(cmd string, args []string) (string, error) {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return "", err
	}
	began := w.Now()
	end := ""
	if cmd == "run" {
		w.Run(d)
	} else {
		links, done := w.Linked, "settled"
		if cmd == "mesh" {
			links, done = w.Meshed, "meshed"
		}
		if !w.RunUntil(d, func() bool { return w.Settled() == nil && links() == nil }) {
			return "", fmt.Errorf("not %s after %v: %v; %v", done, d, w.Settled(), links())
		}
		end = fmt.Sprintf("%s within %v\n", done, roundUp(w.Now()-began))
	}
	return w.news(began) + end, nil
}

// piece is what some servers said of some others.
type piece struct {
	verb      string
	about, by []*Server
	others    bool          // by is all others that run
	last      time.Duration // when the last of them said it
}

// news tells what was said since it was last told, by whom, and how soon after
// began.
func (w *world) news(began time.Duration) string {
	byServer := make(map[string]*piece)
	var order []*piece
	for _, e := range w.Log()[w.said:] {
		key := e.About.Name + e.Verb()
		p := byServer[key]
		if p == nil {
			p = &piece{verb: e.Verb(), about: []*Server{e.About}}
			byServer[key] = p
			order = append(order, p)
		}
		p.by = append(p.by, e.By)
		p.last = e.At
	}
	w.said = len(w.Log())
	slices.SortStableFunc(order, func(a, b *piece) int { return a.about[0].index - b.about[0].index })
	var lines []string
	for len(order) > 0 {
		p := order[0]
		p.others = w.areOthers(p)
		order = slices.DeleteFunc(order, func(o *piece) bool {
			same := o == p || o.verb == p.verb && (p.others && w.areOthers(o) || !p.others && ranges(o.by) == ranges(p.by))
			if same && o != p {
				p.about = append(p.about, o.about[0])
				p.last = max(p.last, o.last)
			}
			return same
		})
		by := ranges(p.by)
		if p.others {
			by = "all others"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s, within %v\n", ranges(p.about), p.verb, by, roundUp(p.last-began)))
	}
	return strings.Join(lines, "")
}

// areOthers reports whether a piece of news about one server was said by all
// others that run.
func (w *world) areOthers(p *piece) bool {
	for _, h := range w.Servers() {
		if h != p.about[0] && h.proc != nil && !h.proc.frozen && !slices.Contains(p.by, h) {
			return false
		}
	}
	return len(p.by) > 1 && !slices.Contains(p.by, p.about[0])
}

// ranges writes servers as briefly as it can.
func ranges(hs []*Server) string {
	var n []int
	for _, h := range hs {
		n = append(n, h.index)
	}
	slices.Sort(n)
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("s%d-s%d", n[i], n[j]))
		} else {
			parts = append(parts, fmt.Sprintf("s%d", n[i]))
		}
		i = j + 1
	}
	return strings.Join(parts, " ")
}

func roundUp(d time.Duration) time.Duration {
	steps := []time.Duration{
		10 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second,
		30 * time.Second, time.Minute,
	}
	for _, s := range steps {
		if d <= s {
			return s
		}
	}
	return d
}

func (w *world) views() string {
	var b strings.Builder
	for _, h := range w.Servers() {
		if h.proc == nil {
			continue
		}
		var known []*Server
		for r := range h.proc.mem.Members() {
			for _, o := range w.Servers() {
				if o.ID == r.ID && o.Address == r.Address {
					known = append(known, o)
				}
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", h.Name, ranges(known))
	}
	return b.String()
}
