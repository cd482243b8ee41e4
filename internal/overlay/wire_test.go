package overlay

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestWire(t *testing.T) {
	for _, msg := range []message{
		{},
		{kind: kindOpen, epoch: 1 << 60},
		{kind: kindAccept},
		{kind: kindRefuse, code: codeTaken, epoch: 3, address: "10.0.0.1:11022"},
		{kind: kindWant},
		{kind: kindWant, want: true},
		{kind: kindBye},
		{kind: 77, code: 88},
	} {
		got, err := decode(msg.encode())
		if err != nil || got != msg {
			t.Errorf("%+v became %+v, %v", msg, got, err)
		}
	}
	// A later version's fields are skipped.
	later := append(message{kind: kindOpen, epoch: 2}.encode(), 0x32, 3, 'n', 'e', 'w', 0x38, 9)
	if got, err := decode(later); err != nil || got != (message{kind: kindOpen, epoch: 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"\x08", "\xff", "\x22\x05ab", strings.Repeat("\x08\x01", maxMessage), "\x22\x81\x04" + strings.Repeat("a", 513),
		string(message{kind: kindRefuse, epoch: 1 << 63}.encode())} {
		if msg, err := decode([]byte(bad)); err == nil {
			t.Errorf("%q became %+v", clip(bad), msg)
		}
	}
}

func clip(s string) string { return s[:min(len(s), 20)] }

func FuzzDecode(f *testing.F) {
	f.Add(message{kind: kindRefuse, code: codeTaken, epoch: 3, address: "10.0.0.1:11022"}.encode())
	f.Add([]byte{0x08, 0x01, 0x10, 0x05})
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(msg.encode())
		if err != nil || again != msg {
			t.Fatalf("%+v became %+v, %v", msg, again, err)
		}
		if len(msg.address) > maxAddress {
			t.Fatalf("an address of %d bytes", len(msg.address))
		}
	})
}

// FuzzReceive feeds a machine with what may come over links.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0x08, 0x01}, []byte{0x08, 0x02}, uint8(3))
	f.Add(message{kind: kindOpen, epoch: 1}.encode(), message{kind: kindWant}.encode(), uint8(3))
	f.Add(message{kind: kindOpen, epoch: 1}.encode(), message{kind: kindBye}.encode(), uint8(3))
	f.Fuzz(func(t *testing.T, a, b []byte, n uint8) {
		now := time.Unix(1000, 0)
		m := New(now, Config{Self: peerN(me, 1), Rand: rand.New(rand.NewPCG(1, 2))})
		for i := range uint64(n%8) + 1 {
			m.Step(now, LinkUp{Link: i, Peer: peerN(41, i)})
			m.Step(now, Receive{Link: i, Data: a})
			outs := m.Step(now, Receive{Link: i, Data: bytes.Clone(b)})
			if len(outs) > 8 {
				t.Fatalf("one message made the machine say %s", brief(outs))
			}
			now = now.Add(time.Second)
		}
	})
}
