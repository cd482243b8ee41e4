package directory

import (
	"cmp"
	"slices"

	"github.com/gocircuit/circuit"
)

// A ring is a radix trie of the servers' places: an inner node has four kids,
// one for each value of the next two bits; a leaf has up to leafMost records in
// order of their places. A node never changes, and which nodes there are depends
// on the records alone, not on the order in which they came.
const (
	digitBits       = 2
	kidsMost        = 1 << digitBits
	leafMost        = 32 // four kids of a leaf that overflowed have 8 each: little is lost to their heads
	levelsPerNibble = 4 / digitBits
)

// node is a part of a ring: nil if it is empty.
type node struct {
	sum
	records []*Record        // of a leaf
	kids    *[kidsMost]*node // of an inner node
}

// sum is what is known of a set of records without looking at them.
type sum struct {
	in, all uint32 // servers in the circuit; departed ones too
	digest  Digest // of all of them
}

func sumOf(r *Record) sum {
	if !r.In() {
		return sum{all: 1, digest: digestOf(r)}
	}
	return sum{in: 1, all: 1, digest: digestOf(r)}
}

func (s sum) plus(t sum) sum  { return sum{s.in + t.in, s.all + t.all, s.digest ^ t.digest} }
func (s sum) minus(t sum) sum { return sum{s.in - t.in, s.all - t.all, s.digest ^ t.digest} }

// digit returns the number of the kid that a place belongs to.
func digit(place uint64, level int) int {
	return int(place>>(64-digitBits*(level+1))) & (kidsMost - 1)
}

func (n *node) total() sum {
	if n == nil {
		return sum{}
	}
	return n.sum
}

// find returns where in a leaf a place is, or would be.
func (n *node) find(ring int, place uint64) (int, bool) {
	return slices.BinarySearchFunc(n.records, place, func(r *Record, place uint64) int {
		return cmp.Compare(Place(ring, r.ID), place)
	})
}

// edit is a change to one ring.
type edit struct {
	ring   int
	place  uint64
	record *Record // to put there
	change sum     // to add to all nodes on the way
}

// with returns the node with a record added or replaced.
func (n *node) with(e edit, level int) *node {
	if n == nil {
		return &node{sum: e.change, records: []*Record{e.record}}
	}
	if n.kids != nil {
		kids := *n.kids
		i := digit(e.place, level)
		kids[i] = kids[i].with(e, level+1)
		return &node{sum: n.sum.plus(e.change), kids: &kids}
	}
	i, found := n.find(e.ring, e.place)
	records := make([]*Record, 0, len(n.records)+1)
	records = append(append(records, n.records[:i]...), e.record)
	if found {
		i++
	}
	records = append(records, n.records[i:]...)
	if len(records) > leafMost {
		return build(e.ring, level, records)
	}
	return &node{sum: n.sum.plus(e.change), records: slices.Clip(records)}
}

// without returns the node with the record at e.place removed, which is there.
func (n *node) without(e edit, level int) *node {
	m := &node{sum: n.sum.plus(e.change)}
	switch {
	case m.all == 0:
		return nil
	case n.kids == nil:
		i, _ := n.find(e.ring, e.place)
		m.records = make([]*Record, 0, len(n.records)-1)
		m.records = append(append(m.records, n.records[:i]...), n.records[i+1:]...)
	default:
		kids := *n.kids
		i := digit(e.place, level)
		kids[i] = kids[i].without(e, level+1)
		if m.all > leafMost {
			m.kids = &kids
			break
		}
		m.records = make([]*Record, 0, m.all)
		for _, kid := range kids { // leaves all, for each has no more than they together
			if kid != nil {
				m.records = append(m.records, kid.records...)
			}
		}
	}
	return m
}

// build returns the node of records that are in order of their places.
func build(ring, level int, records []*Record) *node {
	if len(records) == 0 {
		return nil
	}
	n := new(node)
	if len(records) <= leafMost {
		n.records = slices.Clip(slices.Clone(records))
		for _, r := range records {
			n.sum = n.sum.plus(sumOf(r))
		}
		return n
	}
	n.kids = new([kidsMost]*node)
	for i := range n.kids {
		end, _ := slices.BinarySearchFunc(records, i+1, func(r *Record, i int) int {
			return cmp.Compare(digit(Place(ring, r.ID), level), i)
		})
		n.kids[i] = build(ring, level+1, records[:end])
		n.sum = n.sum.plus(n.kids[i].total())
		records = records[end:]
	}
	return n
}

// spread adds the digests of what begins with p to those of its sixteen
// children. The node is at a level from that of p on, or a leaf above; the digits
// since the level of p are given.
func (n *node) spread(p Prefix, level, digits int, list *[16]Digest) {
	switch {
	case n == nil:
	case level == p.level()+levelsPerNibble:
		list[digits] ^= n.digest
	case n.kids != nil:
		for i, kid := range n.kids {
			kid.spread(p, level+1, digits<<digitBits|i, list)
		}
	default:
		lo, hi := p.bounds()
		for _, r := range n.records {
			if at := Place(0, r.ID); lo <= at && at <= hi {
				list[at<<(digitBits*p.level())>>60] ^= sumOf(r).digest
			}
		}
	}
}

// placed is a record and its place on a ring.
type placed struct {
	place  uint64
	number int // among those given
	record *Record
}

// ofPlaced returns a ring of the records in list, which it sorts. Of several at
// one place the last counts; the departed are on the first ring only.
func ofPlaced(ring int, list []placed) *node {
	slices.SortFunc(list, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.number, b.number))
	})
	records := make([]*Record, 0, len(list))
	for i, p := range list {
		last := i == len(list)-1 || list[i+1].place != p.place
		if last && (ring == 0 || p.record.In()) {
			records = append(records, p.record)
		}
	}
	return build(ring, 0, records)
}

// walk is a way through a part of a ring.
type walk struct {
	ring    int
	lo, hi  uint64 // the first and last place
	back    bool   // from hi to lo
	in, out bool   // servers in the circuit; departed ones
	skip    circuit.ServerID
}

// visit yields the records of the node that the walk is about, in order, until
// yield has enough. The places of the node are those from first on, at a level.
func (n *node) visit(w *walk, level int, first uint64, yield func(*Record) bool) bool {
	if n == nil || first > w.hi || last(first, level) < w.lo || !(w.in && n.in > 0 || w.out && n.all > n.in) {
		return true
	}
	many := kidsMost
	if n.kids == nil {
		many = len(n.records)
	}
	for i := range many {
		if w.back {
			i = many - 1 - i
		}
		if n.kids != nil {
			if !n.kids[i].visit(w, level+1, first|uint64(i)<<(64-digitBits*(level+1)), yield) {
				return false
			}
			continue
		}
		r := n.records[i]
		if at := Place(w.ring, r.ID); at < w.lo || at > w.hi {
			continue
		}
		if in := r.In(); (in && w.in || !in && w.out) && r.ID != w.skip && !yield(r) {
			return false
		}
	}
	return true
}

// last returns the last place of the node at a level whose first place is given.
func last(first uint64, level int) uint64 {
	return first | ^uint64(0)>>(digitBits*level)
}
