// Package directory holds what a server knows of the servers of its circuit: an
// immutable set of records, and the order of the servers on the rings that make
// the overlay's graph.
//
// A Directory is a value. Changing it makes another one, which shares all but a
// few hundred bytes with the one before, so keeping a snapshot costs nothing but
// what has changed since. Directories may be used by several goroutines, as long
// as nobody writes to a Record that is in one.
//
// The servers in the circuit stand on Rings rings, each in an order of its own:
// that of Place. A server's neighbours are those next to it on each ring, so the
// graph is the union of random Hamiltonian cycles (Law and Siu, Distributed
// construction of random expander networks, 2003), ordered by a hash of the
// identity (as in Rapid, Suresh et al., 2018): whoever knows the servers knows
// the graph.
package directory

import (
	"iter"
	"math"
	"time"

	"github.com/gocircuit/circuit"
)

// Rings is the number of rings.
const Rings = 4

// State is what is known of a server. At the same incarnation, the higher state
// prevails.
type State uint8

// The states of a server. Alive and Suspect are those of servers in the circuit.
const (
	Alive   State = 1 + iota
	Suspect       // an observer does not hear it; it may refute
	Dead          // two observers agree that it does not answer
	Left          // it said so itself
)

// Record is what the circuit knows of a server. A Record that is in a Directory
// is never written to: change a copy.
type Record struct {
	ID       circuit.ServerID
	Address  string // HOST:PORT that it advertises
	Instance uint64 // drawn at random when its process started
	// Incarnation counts the server's lives and refutations. Only the server
	// itself raises it; it is kept across restarts where there is a data
	// directory.
	Incarnation uint64
	Version     string // of its software
	State       State
	Events      uint64 // number of the last event known that it originated
	// Since is when this server learnt of the join, or of the departure, by its
	// own clock. It does not travel.
	Since time.Time
	Extra string // encoded fields of later versions, passed on as they came
}

// In reports whether the server is in the circuit.
func (r *Record) In() bool { return r.State == Alive || r.State == Suspect }

// Directory is a set of records, one for each ID. The zero value is empty.
type Directory struct {
	// The first ring's trie holds the departed too. It is what two servers
	// compare when they synchronise.
	rings  [Rings]*node
	digest Digest // of those in the circuit
}

// Of returns the directory of the given records. Of several with the same ID the
// last counts. It takes O(n log n), less than as many calls of With.
func Of(records []*Record) Directory {
	var d Directory
	list := make([]placed, 0, len(records))
	for ring := range Rings {
		list = list[:0]
		for i, r := range records {
			list = append(list, placed{Place(ring, r.ID), i, r})
		}
		d.rings[ring] = ofPlaced(ring, list)
	}
	for r := range d.All() {
		d.digest ^= digestOf(r)
	}
	return d
}

// Len returns the number of servers in the circuit.
func (d Directory) Len() int { return int(d.rings[0].total().in) }

// Departed returns the number of servers that are known to have been in the
// circuit and are not.
func (d Directory) Departed() int {
	t := d.rings[0].total()
	return int(t.all - t.in)
}

// Digest returns the digest of the servers in the circuit.
func (d Directory) Digest() Digest { return d.digest }

// Get returns the record of a server, in the circuit or departed, or nil.
func (d Directory) Get(id circuit.ServerID) *Record {
	place := Place(0, id)
	n := d.rings[0]
	for level := 0; n != nil && n.kids != nil; level++ {
		n = n.kids[digit(place, level)]
	}
	if n == nil {
		return nil
	}
	if i, found := n.find(0, place); found {
		return n.records[i]
	}
	return nil
}

// With returns the directory with a record added, in place of the one of the
// same ID if there is one.
func (d Directory) With(r *Record) Directory {
	old := d.Get(r.ID)
	for ring := range Rings {
		e := edit{ring: ring, place: Place(ring, r.ID), record: r, change: sumOf(r)}
		switch {
		case old != nil && (ring == 0 || old.In()):
			e.change = e.change.minus(sumOf(old))
			if ring > 0 && !r.In() {
				e.record, e.change = nil, sum{}.minus(sumOf(old))
			}
		case ring > 0 && !r.In():
			continue
		}
		if e.record == nil {
			d.rings[ring] = d.rings[ring].without(e, 0)
		} else {
			d.rings[ring] = d.rings[ring].with(e, 0)
		}
	}
	d.digest ^= ofMember(old) ^ ofMember(r)
	return d
}

// Without returns the directory without a server's record.
func (d Directory) Without(id circuit.ServerID) Directory {
	old := d.Get(id)
	if old == nil {
		return d
	}
	for ring := range Rings {
		if ring == 0 || old.In() {
			e := edit{ring: ring, place: Place(ring, id), change: sum{}.minus(sumOf(old))}
			d.rings[ring] = d.rings[ring].without(e, 0)
		}
	}
	d.digest ^= ofMember(old)
	return d
}

// All returns the servers in the circuit, in order of the first ring.
func (d Directory) All() iter.Seq[*Record] {
	return d.seq(walk{hi: math.MaxUint64, in: true})
}

// EachDeparted returns the departed servers.
func (d Directory) EachDeparted() iter.Seq[*Record] {
	return d.seq(walk{hi: math.MaxUint64, out: true})
}

// After returns the servers in the circuit other than id, in the order in which
// they follow its place on the ring (0 to Rings-1), once around. The server id
// need not be in the circuit. The first is found in O(log n).
func (d Directory) After(ring int, id circuit.ServerID) iter.Seq[*Record] {
	at := Place(ring, id)
	return d.around(
		walk{ring: ring, lo: at, hi: math.MaxUint64, in: true, skip: id},
		walk{ring: ring, hi: at, in: true, skip: id})
}

// Before is After in the opposite direction.
func (d Directory) Before(ring int, id circuit.ServerID) iter.Seq[*Record] {
	at := Place(ring, id)
	return d.around(
		walk{ring: ring, hi: at, in: true, back: true, skip: id},
		walk{ring: ring, lo: at, hi: math.MaxUint64, in: true, back: true, skip: id})
}

func (d Directory) seq(w walk) iter.Seq[*Record] {
	return func(yield func(*Record) bool) { d.rings[w.ring].visit(&w, 0, 0, yield) }
}

func (d Directory) around(first, second walk) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		n := d.rings[first.ring]
		_ = n.visit(&first, 0, 0, yield) && n.visit(&second, 0, 0, yield)
	}
}

// Under returns the servers whose place on the first ring begins with p, the
// departed included, in order of their places.
func (d Directory) Under(p Prefix) iter.Seq[*Record] {
	lo, hi := p.bounds()
	return d.seq(walk{lo: lo, hi: hi, in: true, out: true})
}

// Count returns how many records Under(p) has.
func (d Directory) Count(p Prefix) int { return int(d.sumUnder(p).all) }

// DigestOf returns the digest of Under(p), the departed included.
func (d Directory) DigestOf(p Prefix) Digest { return d.sumUnder(p).digest }

// Children returns the digests, as DigestOf does, of the sixteen prefixes that
// are one nibble longer than p. A prefix of full length has none.
func (d Directory) Children(p Prefix) [16]Digest {
	var list [16]Digest
	if p.Depth < maxNibbles {
		n, level := d.at(p)
		n.spread(p, level, 0, &list)
	}
	return list
}

// at returns the node of the first ring that holds what begins with p: at the
// level of p, with nothing beside it, or a leaf above.
func (d Directory) at(p Prefix) (*node, int) {
	n, level := d.rings[0], 0
	for ; n != nil && n.kids != nil && level < p.level(); level++ {
		n = n.kids[digit(p.Bits, level)]
	}
	return n, level
}

// sumUnder adds up the records of the first ring whose places begin with p.
func (d Directory) sumUnder(p Prefix) sum {
	n, level := d.at(p)
	if n == nil || level == p.level() {
		return n.total()
	}
	var s sum
	lo, hi := p.bounds()
	for _, r := range n.records {
		if at := Place(0, r.ID); lo <= at && at <= hi {
			s = s.plus(sumOf(r))
		}
	}
	return s
}
