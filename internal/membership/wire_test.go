package membership

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWire(t *testing.T) {
	full := rec(7)
	full.Version, full.seq, full.ago, full.extra = "1.0", 1<<40, 77, "\x48\x05"
	for _, msg := range []message{
		{kind: kindDirectory},
		{kind: kindDirectory, records: []entry{rec(1), full}, more: true},
		{kind: kindDirectory, records: []entry{full}, reply: true},
		{kind: kindEvent, origin: 1 << 63, seq: 5, record: &full},
		{kind: kindEvent, origin: 9, seq: 5},
		{kind: kindPulse, next: 8000, digest: [2]uint64{1, 1 << 63}, quiet: 5},
		{kind: kindProbe}, {kind: kindAck},
		{kind: kindVote, subject: 6, incarnation: 3, verdict: gone},
		{kind: kindAlarm, subject: 6},
	} {
		got, err := decode(msg.encode())
		if err != nil || !reflect.DeepEqual(got, msg) {
			t.Errorf("%+v became %+v, %v", msg, got, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	wrap := func(e entry) []byte {
		msg := message{kind: kindDirectory, records: []entry{e}}
		return msg.encode()
	}
	long := func(change func(*entry)) []byte { e := rec(1); change(&e); return wrap(e) }
	many := message{kind: kindDirectory}
	for range maxRecords + 1 {
		many.records = append(many.records, entry{})
	}
	probe := message{kind: kindProbe}
	for name, data := range map[string][]byte{
		"cut off":             long(func(*entry) {})[:20],
		"two messages in one": append(probe.encode(), probe.encode()...),
		"too long":            make([]byte, maxMessage+1),
		"too many records":    many.encode(),
		"address":             long(func(e *entry) { e.Address = strings.Repeat("a", maxAddress+1) }),
		"version":             long(func(e *entry) { e.Version = strings.Repeat("a", maxVersion+1) }),
		"unknown fields":      long(func(e *entry) { e.extra = "\x4a\x80\x10" + strings.Repeat("a", 2048) }),
		"incarnation":         long(func(e *entry) { e.Incarnation = maxIncarnation + 1 }),
		"wrong type":          {1<<3 | 2, 4, 1<<3 | 2, 2, 1 << 3, 5},
	} {
		if msg, err := decode(data); err == nil {
			t.Errorf("%s: decoded as %+v", name, msg)
		}
	}
}

func FuzzDecode(f *testing.F) {
	full := rec(7)
	full.Version, full.seq, full.ago, full.extra = "1.0", 1<<40, 77, "\x48\x05"
	for _, msg := range []message{
		{kind: kindDirectory, records: []entry{rec(1), full}, more: true},
		{kind: kindEvent, origin: 1 << 63, seq: 5, record: &full},
		{kind: kindPulse, next: 8000, digest: [2]uint64{1, 1 << 63}, quiet: 5},
		{kind: kindVote, subject: 6, incarnation: 3, verdict: gone},
	} {
		f.Add(msg.encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := decode(data)
		if err != nil || msg.kind == 0 {
			return
		}
		again, err := decode(msg.encode())
		if err != nil || !reflect.DeepEqual(again, msg) {
			t.Fatalf("%+v became %+v, %v", msg, again, err)
		}
	})
}

// FuzzReceive feeds a machine with what may come over links.
func FuzzReceive(f *testing.F) {
	dead := with(rec(60), 1, StateDead)
	for _, msg := range []message{
		{kind: kindDirectory, records: []entry{dead, with(rec(me), 3, StateDead)}},
		{kind: kindEvent, origin: 60, seq: 1, record: &dead},
		{kind: kindVote, subject: 60, incarnation: 1, verdict: gone},
		{kind: kindPulse, next: 1 << 60},
	} {
		f.Add(msg.encode(), uint16(100))
	}
	f.Fuzz(func(t *testing.T, data []byte, ms uint16) {
		now := time.Unix(1000, 0)
		m := New(now, Config{Self: rec(me).Record, Rand: rand.New(rand.NewPCG(1, 2))})
		for _, id := range []uint64{60, 70, 80} {
			m.Step(now, LinkUp{Link: id, ID: rec(60).ID, Instance: id})
			e := rec(60)
			msg := message{kind: kindDirectory, records: []entry{e}}
			m.Step(now, Receive{Link: id, Data: msg.encode()})
			m.Step(now, Receive{Link: id, Data: data})
			now = now.Add(time.Duration(ms) * time.Millisecond)
			m.Step(now, Tick{})
		}
		in := make(map[uint64]bool)
		for _, r := range m.Members() {
			if in[uint64(r.ID)] || r.State > StateSuspect && r.ID != me {
				t.Fatalf("members %+v", m.Members())
			}
			in[uint64(r.ID)] = true
		}
		if d := m.Deadline(); len(in) > 1 && d.IsZero() {
			t.Fatal("nothing is ever due")
		}
	})
}
