package channel

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/transport"
)

// Clients send and receive at once, are killed at any moment, and note what
// they saw. The history must be one that a queue could have given, in which
// only what the contract allows is left open.

// hState is the queue: messages in order, those that a killed receiver had,
// and whether it is closed. Messages are single letters.
type hState struct {
	queue, back string
	closed      bool
}

type hInput struct {
	op      string // "send", "recv", "close"
	message rune   // sent
}

type hOutput struct {
	kind    circuit.ErrorKind // 0 for done, Closed, or Lost for unknown
	message rune              // received; 0 if none was seen
	again   bool              // marked as redelivered
	acked   bool              // an acknowledgement may have reached the server
}

// hModel is the model for one history that ends drained. What was seen in it
// rules out much that could have been otherwise, which makes checking fast: a
// message that nobody saw was never in the queue, and one that nobody received
// again never came back.
type hModel struct{ seen, again map[rune]bool }

// check checks a history.
func check(ops []porcupine.Operation) porcupine.CheckResult {
	m := hModel{make(map[rune]bool), make(map[rune]bool)}
	for _, op := range ops {
		out := op.Output.(hOutput)
		m.seen[out.message] = true
		if out.again {
			m.again[out.message] = true
		}
	}
	ops = slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool {
		in, out := op.Input.(hInput), op.Output.(hOutput)
		return out.kind == circuit.Lost && out.message == 0 && (in.op == "send" && !m.seen[in.message] || in.op == "recv" && len(m.again) == 0)
	})
	model := porcupine.NondeterministicModel{Init: func() []any { return []any{hState{}} }, Step: m.step}
	return porcupine.CheckOperationsTimeout(model.ToModel(), ops, time.Minute)
}

// step returns what the queue may be after an operation.
func (h *hModel) step(state, input, output any) []any {
	s, in, out := state.(hState), input.(hInput), output.(hOutput)
	switch {
	case in.op == "close":
		s.closed = true
		return []any{s}
	case out.kind == circuit.Closed:
		if !s.closed || in.op == "recv" && s.queue+s.back != "" {
			return nil
		}
		return []any{s}
	case in.op == "recv":
		return h.received(s, out)
	case s.closed:
		return nil
	}
	s.queue += string(in.message)
	return []any{s}
}

// received returns what the queue may be after a receive, done or not.
func (h *hModel) received(s hState, out hOutput) (next []any) {
	if out.kind != 0 && out.message == 0 {
		next = append(next, s) // nothing was taken, or came back
	}
	if s.queue != "" && !out.again && (out.message == 0 || rune(s.queue[0]) == out.message) {
		taken := hState{s.queue[1:], s.back, s.closed}
		if out.acked {
			next = append(next, taken)
		}
		if out.kind != 0 && h.again[rune(s.queue[0])] {
			taken.back += s.queue[:1]
			next = append(next, taken)
		}
	}
	for i, m := range s.back {
		if !out.again || m != out.message {
			continue
		}
		if out.acked {
			next = append(next, hState{s.queue, s.back[:i] + s.back[i+1:], s.closed})
		}
		if out.kind != 0 {
			next = append(next, s)
		}
	}
	return next
}

// history collects operations.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *history) do(client int, in hInput, op func() hOutput) hOutput {
	call := h.clock.Add(1)
	out := op()
	end := h.clock.Add(1)
	if out.kind != 0 && out.kind != circuit.Closed {
		end = math.MaxInt64 // it may still have its effect
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
	return out
}

// hClient is one client, on a host of its own.
type hClient struct {
	*wire
	host string
	mem  *transport.Memory
	conn *transport.Conn
	rng  *rand.Rand
}

// kill ends what the client does in one of the ways in which clients end, at
// some moment soon.
func (c *hClient) kill(cancel func()) {
	for range c.rng.IntN(200) {
		runtime.Gosched()
	}
	if c.rng.IntN(2) == 0 {
		cancel()
		return
	}
	c.mem.Reset(c.host, "server")
	cancel()
}

func (c *hClient) connection() *transport.Conn {
	if c.conn != nil {
		select {
		case <-c.conn.Done():
		default:
			return c.conn
		}
	}
	c.conn = c.dialFrom(c.mem.Host(c.host))
	return c.conn
}

func unknown(err error) circuit.ErrorKind {
	if k := circuit.KindOf(err); k == circuit.Closed {
		return k
	}
	return circuit.Lost
}

func (c *hClient) send(message rune, killed bool) hOutput {
	ctx, cancel := context.WithCancel(c.at(context.Background(), "q"))
	defer cancel()
	conn := c.connection()
	var killer sync.WaitGroup
	defer killer.Wait()
	if killed {
		killer.Go(func() { c.kill(cancel) })
	}
	s, err := openSend(ctx, conn)
	if err == nil {
		err = s.send([]byte(string(message)))
	}
	if err != nil {
		return hOutput{kind: unknown(err)}
	}
	return hOutput{}
}

func (c *hClient) recv(killed int) (out hOutput) {
	ctx, cancel := context.WithCancel(c.at(context.Background(), "q"))
	defer cancel()
	conn := c.connection()
	var killer sync.WaitGroup
	defer killer.Wait()
	if killed == 1 {
		killer.Go(func() { c.kill(cancel) })
	}
	r, err := openRecv(ctx, conn)
	if err == nil {
		err = r.ask(1, 0)
	}
	var msgs []wireMessage
	if err == nil {
		msgs, err = r.read()
	}
	if err != nil {
		return hOutput{kind: unknown(err)}
	}
	out = hOutput{message: rune(msgs[0].data[0]), again: msgs[0].redelivered}
	switch killed {
	case 2:
		c.kill(cancel)
		out.kind = circuit.Lost
		return out
	case 3:
		killer.Go(func() { c.kill(cancel) })
	}
	out.acked = true
	if r.ask(0, 1) != nil || r.confirm(1) != nil {
		out.kind = circuit.Lost
	}
	return out
}

func TestHistory(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	seed := rand.Uint64()
	var seen [3]int
	for round := range rounds {
		rng := rand.New(rand.NewPCG(seed, uint64(round)))
		cap := []int{0, 0, 1, 3}[rng.IntN(4)]
		t.Run(fmt.Sprintf("seed=%d/round=%d/cap=%d", seed, round, cap), func(t *testing.T) {
			h := runHistory(t, rng, cap)
			switch check(h.ops) {
			case porcupine.Illegal:
				for _, op := range h.ops {
					t.Logf("client %d [%d,%d] %+v -> %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
				}
				t.Error("no channel gives this history")
			case porcupine.Unknown:
				t.Error("the history could not be checked in time")
			}
			for _, op := range h.ops {
				switch out := op.Output.(hOutput); {
				case out.again:
					seen[0]++
				case out.kind == circuit.Lost:
					seen[1]++
				case out.kind == 0:
					seen[2]++
				}
			}
		})
	}
	for i, what := range []string{"redelivered", "killed", "done"} {
		if seen[i] == 0 {
			t.Errorf("nothing was %s", what)
		}
	}
}

// runHistory lets clients loose on a channel and returns what they saw.
func runHistory(t *testing.T, rng *rand.Rand, cap int) *history {
	mem := transport.NewMemory()
	w := newWire(t, mem.Host("server"), "server:1", Config{})
	w.make(w.dialFrom(mem.Host("maker")), "q", cap)
	var h history
	var clients, sending sync.WaitGroup
	const senders, receivers, each = 3, 4, 3
	client := func(id int) *hClient {
		return &hClient{wire: w, host: fmt.Sprint("client", id), mem: mem, rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
	}
	for id := range senders {
		c := client(id)
		sending.Go(func() {
			for i := range each {
				m := 'a' + rune(id*each+i)
				h.do(id, hInput{"send", m}, func() hOutput { return c.send(m, c.rng.IntN(4) == 0) })
			}
		})
	}
	for i := range receivers {
		id := senders + i
		c := client(id)
		clients.Go(func() {
			for {
				killed := max(c.rng.IntN(9)-5, 0)
				out := h.do(id, hInput{op: "recv"}, func() hOutput { return c.recv(killed) })
				if out.kind == circuit.Closed {
					return
				}
			}
		})
	}
	sending.Wait()
	h.do(-1, hInput{op: "close"}, func() hOutput {
		_, err := circuitv1.NewChansClient(w.dialFrom(mem.Host("maker"))).Close(w.at(context.Background(), "q"), &circuitv1.CloseChanRequest{})
		if err != nil {
			t.Error(err)
		}
		return hOutput{}
	})
	clients.Wait()
	return &h
}

// The checker itself must refuse what a channel must not do.
func TestHistoryCheckerRefuses(t *testing.T) {
	lost := hOutput{kind: circuit.Lost}
	sends := []porcupine.Operation{
		{Input: hInput{"send", 'a'}, Call: 1, Return: 2, Output: hOutput{}},
		{Input: hInput{"send", 'b'}, Call: 3, Return: 4, Output: hOutput{}},
	}
	recv := func(call int64, out hOutput) porcupine.Operation {
		return porcupine.Operation{Input: hInput{op: "recv"}, Call: call, Return: call + 1, Output: out}
	}
	got := func(m rune, again bool) hOutput { return hOutput{message: m, again: again, acked: true} }
	killed := porcupine.Operation{Input: hInput{op: "recv"}, Call: 5, Return: math.MaxInt64, Output: lost}
	end := []porcupine.Operation{{Input: hInput{op: "close"}, Call: 90, Return: 91, Output: hOutput{}}, recv(92, hOutput{kind: circuit.Closed})}
	for name, c := range map[string]struct {
		ops []porcupine.Operation
		ok  bool
	}{
		"in order":                {[]porcupine.Operation{recv(10, got('a', false)), recv(12, got('b', false))}, true},
		"out of order":            {[]porcupine.Operation{recv(10, got('b', false)), recv(12, got('a', false))}, false},
		"twice":                   {[]porcupine.Operation{recv(10, got('a', false)), recv(12, got('b', false)), recv(14, got('b', false))}, false},
		"lost":                    {[]porcupine.Operation{recv(10, got('a', false))}, false},
		"lost to a killed one":    {[]porcupine.Operation{killed, recv(10, got('b', false))}, false},
		"marked for nothing":      {[]porcupine.Operation{recv(10, got('a', true)), recv(12, got('b', false))}, false},
		"marked after a kill":     {[]porcupine.Operation{killed, recv(10, got('b', false)), recv(12, got('a', true))}, true},
		"unmarked after a kill":   {[]porcupine.Operation{killed, recv(10, got('a', false)), recv(12, got('b', false))}, true},
		"seen and then unmarked":  {[]porcupine.Operation{recv(8, hOutput{kind: circuit.Lost, message: 'a'}), recv(10, got('a', false)), recv(12, got('b', false))}, false},
		"acknowledged, then lost": {[]porcupine.Operation{recv(8, hOutput{kind: circuit.Lost, message: 'a', acked: true}), recv(12, got('b', false))}, true},
	} {
		ops := append(append(append([]porcupine.Operation(nil), sends...), c.ops...), end...)
		if ok := check(ops) == porcupine.Ok; ok != c.ok {
			t.Errorf("%s: legal %v, want %v", name, ok, c.ok)
		}
	}
}
