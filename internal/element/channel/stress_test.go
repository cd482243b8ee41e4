package channel

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/transport"
)

// crowd is 16 senders and 16 receivers on one channel.
type crowd struct {
	*wire
	mem  *transport.Memory
	each int // messages of one sender
	cuts bool

	ch       *Chan
	all      context.Context
	stop     context.CancelFunc
	mu       sync.Mutex
	sights   map[uint64]int // by message: how often seen unmarked
	again    map[uint64]int // and marked as redelivered
	finished map[uint64]int // and confirmed
}

const crowdSize = 16

func runCrowd(t *testing.T, cap, each int, cuts bool) *crowd {
	mem := transport.NewMemory()
	c := &crowd{
		wire: newWire(t, mem.Host("server"), "server:1", Config{}), mem: mem, each: each, cuts: cuts,
		sights: make(map[uint64]int), again: make(map[uint64]int), finished: make(map[uint64]int),
	}
	c.all, c.stop = context.WithCancel(t.Context())
	c.ch = c.make(c.dialFrom(mem.Host("maker")), "q", cap)
	want := crowdSize * each
	var senders, receivers sync.WaitGroup
	for i := range crowdSize {
		senders.Go(func() { c.sendAll(i) })
		receivers.Go(func() { c.recvAll(i) })
	}
	senders.Wait() // all are accepted; the last ones may still be on their way
	c.until(c.ch, "the last message", func(s circuit.ChanStat) bool { return s.NumRecv >= want || c.all.Err() != nil })
	c.stop()
	receivers.Wait()
	for i := range uint64(want) {
		if c.sights[i] > 1 || c.sights[i]+c.again[i] == 0 || c.finished[i] > 1 || !cuts && c.sights[i] != 1 {
			t.Fatalf("message %d was seen %d times unmarked and %d times marked, and confirmed %d times", i, c.sights[i], c.again[i], c.finished[i])
		}
	}
	if len(c.sights)+len(c.again) > 2*want {
		t.Errorf("messages were seen that nobody sent")
	}
	if s := c.ch.Stat(); s.NumSend != want || s.NumRecv != want || s.Buffered != 0 || s.BufferedBytes != 0 {
		t.Errorf("state afterwards: %+v", s)
	}
	return c
}

// sendAll sends the messages of sender i, many to a frame, and wants each to be
// accepted.
func (c *crowd) sendAll(i int) {
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	s, err := openSend(c.at(c.all, "q"), c.dialFrom(c.mem.Host(fmt.Sprint("sender", i))))
	if err != nil {
		c.Error(err)
		return
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for n := 0; n < c.each; {
			var msgs [][]byte
			for range min(1+rng.IntN(30), c.each-n) {
				msgs = append(msgs, append(binary.BigEndian.AppendUint64(nil, uint64(i*c.each+n)), make([]byte, rng.IntN(100))...))
				n++
			}
			if s.put(msgs...) != nil {
				return // the reader has the reason
			}
		}
		s.CloseSend()
	})
	accepted := 0
	for {
		reply, err := s.Recv()
		if err == io.EOF && accepted == c.each {
			return
		}
		if err != nil {
			c.Errorf("sender %d after %d messages: %v", i, accepted, err)
			c.stop()
			return
		}
		for _, o := range reply.Outcomes {
			accepted += int(o.Count)
			if o.Error != nil {
				c.Errorf("sender %d, message %d: %v", i, o.Message, o.Error)
			}
		}
	}
}

// recvAll receives until the crowd ends.
func (c *crowd) recvAll(i int) {
	rng := rand.New(rand.NewPCG(uint64(i), 2))
	host := fmt.Sprint("receiver", i)
	for c.all.Err() == nil {
		conn := c.dialFrom(c.mem.Host(host))
		cut := -1
		if c.cuts && c.ch.Stat().NumRecv < crowdSize*c.each/2 {
			cut = rng.IntN(40)
		}
		if err := c.recvSome(conn, rng, cut, host); err != nil && cut < 0 && c.all.Err() == nil {
			c.Errorf("receiver %d: %v", i, err)
			c.stop()
		}
		conn.Close()
	}
}

// recvSome receives over one connection, which is cut after some frames if cut
// is not negative.
func (c *crowd) recvSome(conn *transport.Conn, rng *rand.Rand, cut int, host string) error {
	r, err := openRecv(c.at(c.all, "q"), conn)
	if err == nil {
		err = r.ask(uint32(1+rng.IntN(50)), 0)
	}
	var unsure []uint64
	for frames := 0; err == nil; frames++ {
		var msgs []wireMessage
		if msgs, err = r.read(); err != nil {
			break
		}
		c.mu.Lock()
		for _, m := range msgs {
			n := binary.BigEndian.Uint64(m.data)
			unsure = append(unsure, n)
			if m.redelivered {
				c.again[n]++
			} else {
				c.sights[n]++
			}
		}
		c.mu.Unlock()
		if frames == cut {
			c.mem.Reset(host, "server")
		}
		err = r.ask(uint32(len(msgs)), r.last)
		for len(unsure) > 0 && r.last-uint64(len(unsure)) < r.sure {
			c.mu.Lock()
			c.finished[unsure[0]]++
			c.mu.Unlock()
			unsure = unsure[1:]
		}
	}
	return err
}

func TestCrowdReceivesEachMessageOnce(t *testing.T) {
	each := 100_000 / crowdSize
	if testing.Short() {
		each = 500
	}
	for _, cap := range []int{0, 100} {
		t.Run(fmt.Sprint("cap=", cap), func(t *testing.T) { runCrowd(t, cap, each, false) })
	}
}

func TestCrowdWithReceiversCutOffLosesNothing(t *testing.T) {
	for _, cap := range []int{0, 100} {
		t.Run(fmt.Sprint("cap=", cap), func(t *testing.T) {
			if c := runCrowd(t, cap, 1000, true); c.ch.Stat().Redelivered == 0 {
				t.Error("nothing was redelivered")
			}
		})
	}
}

// Ten thousand receivers block on one channel, over ten connections, and then
// each gets a message.
func TestTenThousandBlockedReceivers(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	w := memWire(t, Config{})
	c := w.make(w.dial(), "q", 0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]*transport.Conn, 10)
	for i := range conns {
		conns[i] = w.dial()
	}
	receivers := make([]*wireRecv, n)
	for i := range receivers {
		r, err := openRecv(w.at(t.Context(), "q"), conns[i%len(conns)])
		if err != nil || r.ask(1, 0) != nil {
			t.Fatal(err)
		}
		receivers[i] = r
	}
	w.until(c, "the last receiver", func(s circuit.ChanStat) bool { return s.Receivers == n })
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (after.HeapInuse + after.StackInuse - before.HeapInuse - before.StackInuse) / uint64(n)
	t.Logf("%d bytes a receiver, its client's part included", per)
	if per > 64<<10 {
		t.Errorf("%d bytes a receiver", per)
	}
	for i := range 10 {
		s, err := openSend(w.at(t.Context(), "q"), conns[i])
		if err != nil {
			t.Fatal(err)
		}
		for range n / 10 {
			if err := s.put([]byte("one for each")); err != nil {
				t.Fatal(err)
			}
		}
		defer func() {
			if err := s.wait(s.num); err != nil {
				t.Error(err)
			}
		}()
	}
	for _, r := range receivers {
		if _, err := r.read(); err != nil {
			t.Fatal(err)
		}
		if err := r.ask(0, 1); err != nil {
			t.Fatal(err)
		}
	}
}
