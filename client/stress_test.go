package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gocircuit/circuit"
)

// sightings is what receivers saw of messages.
type sightings struct {
	mu       sync.Mutex
	fresh    map[string]int // times received, not marked as redelivered
	again    map[string]int // times received, marked
	done     map[string]int // times confirmed
	finished int            // messages that were seen
}

func (s *sightings) saw(message string, redelivered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh[message]+s.again[message] == 0 {
		s.finished++
	}
	if redelivered {
		s.again[message]++
	} else {
		s.fresh[message]++
	}
}

// receiveUntilClosed receives until the channel is closed, with a new Receiver
// whenever the connection broke.
func (s *sightings) receiveUntilClosed(t *testing.T, ch *Chan, credit int) {
	for {
		r := ch.Receiver(t.Context(), Credit(credit))
		err := s.receiveSome(r)
		r.Close()
		if errors.Is(err, ErrClosed) {
			return
		}
		if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrLost) {
			t.Errorf("receive: %v", err)
			return
		}
	}
}

func (s *sightings) receiveSome(r *Receiver) error {
	for n := 1; ; n++ {
		m, err := r.Next()
		if err != nil {
			return err
		}
		b, err := m.Bytes()
		if err != nil {
			return err
		}
		s.saw(string(b), m.Redelivered())
		if n%3 != 0 {
			err = m.Ack()
		} else if err = m.Done(); err == nil {
			s.mu.Lock()
			s.done[string(b)]++
			s.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
}

// While the connections of receivers break at random, no message is lost, and
// none comes twice without being marked.
func TestReceiversCutAtRandom(t *testing.T) {
	const senders, receivers, each = 6, 6, 700
	f := newFake(t)
	made, err := mustWalk(t, f.dial(), fakePath+"/c").MakeChan(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	seen := &sightings{fresh: make(map[string]int), again: make(map[string]int), done: make(map[string]int)}

	var receiving sync.WaitGroup
	for i := range receivers {
		c, err := Dial(t.Context(), f.addr, append(f.options(), withNetwork(f.mem.Host(fmt.Sprint("receiver", i))))...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		receiving.Go(func() { seen.receiveUntilClosed(t, c.Anchor(made.Path()).Chan(), 1+i%3*8) })
	}
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			s := made.Sender(t.Context(), Ahead(20))
			for n := range each {
				if err := s.Send(fmt.Appendf(nil, "%d/%d", i, n)); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("close of a sender: %v", err)
			}
		})
	}
	var sent atomic.Bool
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for cuts := 0; !sent.Load(); cuts++ {
			if _, err := made.Stat(t.Context()); err != nil { // about as long as a message
				t.Error(err)
				return
			}
			if cuts%20 == 0 {
				f.mem.Reset(fmt.Sprint("receiver", rand.IntN(receivers)), f.host)
			}
		}
	})
	sending.Wait()
	sent.Store(true)
	cutting.Wait()
	if err := made.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	receiving.Wait()

	if seen.finished != senders*each {
		t.Errorf("%d messages of %d were received", seen.finished, senders*each)
	}
	repeated := 0
	for message, n := range seen.fresh {
		if n > 1 {
			t.Errorf("message %s came %d times without being marked as redelivered", message, n)
		}
		repeated += seen.again[message]
		if seen.done[message] > 1 {
			t.Errorf("message %s was confirmed %d times", message, seen.done[message])
		}
	}
	stat, err := made.Stat(t.Context())
	if err != nil || stat.NumSend != senders*each || stat.NumRecv != senders*each || stat.BufferedBytes != circuit.Size(0) {
		t.Errorf("stat: %+v, %v", stat, err)
	}
	t.Logf("%d messages came again", repeated)
}
