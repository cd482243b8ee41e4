package directory

import "github.com/gocircuit/circuit"

// Digest stands for a set of servers: the exclusive or of a hash of ID,
// Incarnation, Instance, State and Events of each. Equal sets have equal
// digests; sets that differ by accident have different ones, but for one in
// 2^64.
type Digest uint64

// ringKeys tells the rings apart: digits of pi.
var ringKeys = [Rings]uint64{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}

// Place returns where on a ring (0 to Rings-1) a server stands. No two servers
// have the same place. Places are part of the protocol: all servers of a circuit
// compute the same.
func Place(ring int, id circuit.ServerID) uint64 {
	return mix(uint64(id) ^ ringKeys[ring])
}

// mix is the finalizer of splitmix64 (Steele, Lea and Flood, Fast splittable
// pseudorandom number generators, 2014). It is one to one.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func digestOf(r *Record) Digest {
	h := mix(uint64(r.ID))
	for _, v := range [...]uint64{r.Incarnation, r.Instance, uint64(r.State), r.Events} {
		h = mix(h ^ v)
	}
	return Digest(h)
}

// ofMember returns the digest of a server that is in the circuit, 0 otherwise.
func ofMember(r *Record) Digest {
	if r == nil || !r.In() {
		return 0
	}
	return digestOf(r)
}

const maxNibbles = 16

// Prefix is the beginning of a place on the first ring. The zero value is that
// of all places.
type Prefix struct {
	Bits  uint64 // the place; what is beyond Depth does not matter
	Depth uint8  // in nibbles: 0 to 16, more counts as 16
}

// Child returns the prefix that is one nibble longer, which is i (0 to 15).
func (p Prefix) Child(i int) Prefix {
	depth := min(p.Depth, maxNibbles-1)
	shift := 60 - 4*depth
	return Prefix{Bits: p.Bits&^(1<<(shift+4)-1) | uint64(i)<<shift, Depth: depth + 1}
}

// level returns at which level of a trie the nodes have p in common.
func (p Prefix) level() int { return int(min(p.Depth, maxNibbles)) * levelsPerNibble }

// bounds returns the first and the last place that begin with p.
func (p Prefix) bounds() (lo, hi uint64) {
	rest := ^uint64(0) >> (4 * min(p.Depth, maxNibbles))
	return p.Bits &^ rest, p.Bits | rest
}
