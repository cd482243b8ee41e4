package membership

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// examples are messages of every kind.
func examples() []message {
	full := rec(7)
	full.Version, full.Events, full.ago, full.gone, full.Extra = "1.0", 1<<40, 77, true, "\x50\x05"
	var children [16]directory.Digest
	children[0], children[15] = 1, 1<<63
	news := message{kind: kindNews, records: []entry{full}, more: true}
	for i := range 30 {
		news.records = append(news.records, rec(circuit.ServerID(i)))
	}
	list := []message{
		{kind: kindRoot}, {kind: kindRoot, digest: 1 << 63, count: 1 << 40, recent: 3},
		{kind: kindAsk, prefixes: []directory.Prefix{{}, {Bits: 7 << 60, Depth: 1}, {Bits: 7, Depth: 16}}, whole: true}, {kind: kindAsk, past: true},
		{kind: kindChildren, prefixes: []directory.Prefix{{Bits: 1 << 63, Depth: 1}}, children: children},
		{kind: kindRecords, prefixes: []directory.Prefix{{}}, records: []entry{rec(1), full}, more: true},
		{kind: kindPast, events: []event{{origin: 1, number: 2, data: []byte{}}, {origin: 1, number: 3, data: []byte("x")}}},
		{kind: kindSynced}, {kind: kindResync}, news,
		{kind: kindNews, events: []event{{origin: 5}}},
		{kind: kindEvent, event: &event{origin: 1 << 63, number: 5, record: &full}},
		{kind: kindEvent, event: &event{origin: 9, number: 5}},
		{kind: kindEvent, event: &event{origin: 9, number: 5, data: bytes.Repeat([]byte("data"), 10)}},
		{kind: kindSignal, signal: signal{kind: sigAck, quiet: 300 * time.Millisecond, next: 8 * time.Second, digest: 1 << 63}},
		{kind: kindDatagrams}, {kind: kindDatagrams, on: true},
	}
	for i := range list {
		for j := range list[i].events {
			list[i].events[j].encode() // as it is decoded
		}
		if list[i].event != nil {
			list[i].event.encode()
		}
	}
	return list
}

func TestWire(t *testing.T) {
	longest := event{origin: 9, number: 5, data: make([]byte, MaxData)}
	longest.encode()
	for _, msg := range append(examples(), message{kind: kindEvent, event: &longest}) {
		got, err := decode(msg.encode())
		if err != nil || !reflect.DeepEqual(got, msg) {
			t.Errorf("%+v became %+v, %v", msg, got, err)
		}
	}
}

func TestSignal(t *testing.T) {
	for _, c := range []struct{ in, out signal }{
		{signal{kind: sigPulse, quiet: 199 * time.Millisecond, next: 3 * time.Millisecond}, signal{kind: sigPulse, quiet: 100 * time.Millisecond, next: 4 * time.Millisecond}},
		{signal{kind: sigProbe, quiet: time.Hour, next: time.Hour}, signal{kind: sigProbe, quiet: 25500 * time.Millisecond, next: 131070 * time.Millisecond}},
		{signal{kind: sigAck, quiet: -1, next: -time.Hour}, signal{kind: sigAck}},
	} {
		b := c.in.encode()
		if got, err := decodeSignal(b); err != nil || got != c.out || len(b) != DatagramSize {
			t.Errorf("%+v became %+v, %v", c.in, got, err)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, DatagramSize), append([]byte{4}, make([]byte, DatagramSize-1)...), append([]byte{1}, make([]byte, DatagramSize)...)} {
		if s, err := decodeSignal(b); err == nil {
			t.Errorf("%x was decoded as %+v", b, s)
		}
	}
}

// TestPacked: long messages are compressed, and take no more memory than others.
func TestPacked(t *testing.T) {
	msg := message{kind: kindNews}
	for i := range partRecords {
		e := rec(circuit.ServerID(i))
		e.Version = "v1.2.3"
		msg.records = append(msg.records, e)
	}
	if plain, packed := len(msg.body()), len(msg.encode()); packed > plain/2 {
		t.Errorf("%d bytes became %d", plain, packed)
	}
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, flate.BestCompression)
	w.Write(make([]byte, 64<<20))
	w.Close()
	twice := appendBytes(nil, kindPacked, pack(msg.encode()))
	for name, b := range map[string][]byte{
		"a bomb": appendBytes(nil, kindPacked, bomb.Bytes()), "packed twice": pack(msg.encode()), "wrapped twice": twice,
		"no deflate": appendBytes(nil, kindPacked, []byte("hello")), "cut off": appendBytes(nil, kindPacked, msg.encode()[8:100]),
	} {
		if _, err := decode(b); err == nil {
			t.Errorf("%s was decoded", name)
		}
	}
}

func TestMalformed(t *testing.T) {
	wrap := func(e entry) []byte {
		msg := message{kind: kindNews, records: []entry{e}}
		return msg.encode()
	}
	long := func(change func(*entry)) []byte { e := rec(1); change(&e); return wrap(e) }
	many := message{kind: kindNews}
	for range maxRecords + 1 {
		many.records = append(many.records, entry{})
	}
	events := message{kind: kindPast, events: make([]event, maxEvents+1)}
	asks := message{kind: kindAsk, prefixes: make([]directory.Prefix, maxPrefixes+1)}
	deep := message{kind: kindAsk, prefixes: []directory.Prefix{{Depth: 17}}}
	two := message{kind: kindRecords, prefixes: make([]directory.Prefix, 2)}
	data := message{kind: kindEvent, event: &event{data: make([]byte, MaxData+1)}}
	number := message{kind: kindEvent, event: &event{number: 3 << 62}}
	synced := message{kind: kindSynced}
	for name, b := range map[string][]byte{
		"cut off":             long(func(*entry) {})[:20],
		"two messages in one": append(synced.encode(), synced.encode()...),
		"too long":            make([]byte, maxMessage+1),
		"too many records":    many.encode(),
		"too many events":     events.encode(),
		"too many prefixes":   asks.encode(),
		"too deep":            deep.encode(),
		"two prefixes":        two.encode(),
		"too much data":       data.encode(),
		"number":              number.encode(),
		"address":             long(func(e *entry) { e.Address = strings.Repeat("a", maxAddress+1) }),
		"version":             long(func(e *entry) { e.Version = strings.Repeat("a", maxVersion+1) }),
		"unknown fields":      long(func(e *entry) { e.Extra = "\x4a\x80\x10" + strings.Repeat("a", 2048) }),
		"incarnation":         long(func(e *entry) { e.Incarnation = maxIncarnation + 1 }),
		"wrong type":          appendBytes(nil, kindNews, []byte{1<<3 | 2, 2, 1 << 3, 5}),
		"children":            appendBytes(nil, kindChildren, appendBytes(nil, 2, make([]byte, 127))),
		"signal":              appendBytes(nil, kindSignal, []byte("hello")),
	} {
		if msg, err := decode(b); err == nil {
			t.Errorf("%s: decoded as %+v", name, msg)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, msg := range examples() {
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
	died, doubted := with(rec(60), 1, dead), with(rec(me), 3, suspect)
	for _, msg := range append(examples(),
		message{kind: kindNews, records: []entry{died, with(rec(me), 3, dead)}},
		message{kind: kindEvent, event: &event{origin: 60, number: 1<<epochBits + 2, record: &died}},
		message{kind: kindEvent, event: &event{origin: 60, number: 1<<epochBits + 2, record: &doubted}},
		message{kind: kindRoot, count: 1000, digest: 5},
	) {
		f.Add(msg.encode(), uint16(100))
	}
	f.Fuzz(func(t *testing.T, data []byte, ms uint16) {
		now := time.Unix(1000, 0)
		m := New(now, Config{Self: rec(me).Record, Rand: rand.New(rand.NewPCG(1, 2))})
		for _, id := range []uint64{60, 70, 80} {
			e := rec(circuit.ServerID(id))
			m.Step(now, LinkUp{Link: id, ID: e.ID, Instance: id})
			for _, msg := range []message{{kind: kindRoot}, {kind: kindEvent, event: &event{origin: e.ID, number: 1<<epochBits + 1, record: &e}}} {
				m.Step(now, Receive{Link: id, Data: msg.encode()})
			}
			m.Step(now, Receive{Link: id, Data: data})
			m.Step(now, ReceiveDatagram{Link: id, Data: data})
			now = now.Add(time.Duration(ms) * time.Millisecond)
			m.Step(now, Tick{})
		}
		n, suspects := 0, 0
		for r := range m.Members() {
			if n++; r.State == suspect && r.ID != me {
				suspects++
			}
		}
		if n != m.Directory().Len() || suspects != m.suspects {
			t.Fatalf("%d members, %d suspect; %d are counted", n, suspects, m.suspects)
		}
		if d := m.Deadline(); n > 1 && d.IsZero() {
			t.Fatal("nothing is ever due")
		}
		for i := 0; i < 1000 && !m.Deadline().IsZero(); i++ { // it comes to rest
			if d := m.Deadline(); d.After(now) {
				now = d
			}
			m.Step(now, Tick{})
		}
		if now.Before(time.Unix(1002, 0)) && !m.Deadline().IsZero() {
			t.Fatal("it spins")
		}
	})
}
