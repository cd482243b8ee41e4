package client

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/graph"
)

// Overlay is the graph of the links between the servers of a circuit, put
// together from what each says of its neighbours.
type Overlay struct {
	Servers []OverlayServer // in the order of their IDs
	Links   []OverlayLink   // in the order of their ends

	Silent     int     // servers that did not answer
	OneSided   int     // links that one end told of, and the other, which answered, did not
	MinDegree  int     // links that a server has, at least
	MeanDegree float64 // on average
	MaxDegree  int     // at most
	Components []int   // sizes of the parts that are connected in themselves, the largest first
	// Lambda2 is the second largest absolute eigenvalue of the random walk on
	// the graph, which is |lambda2|/d where all have d links, estimated from
	// below. It is between 0 and 1, and the less, the better the graph
	// expands: the better it holds together, and the sooner news are
	// everywhere. 1 says that it falls into parts, or into two sides that have
	// links only with each other.
	Lambda2 float64
	// Ideal is 2*sqrt(d-1)/d for the mean degree d: Lambda2 of the best large
	// graphs of that degree. Small ones may do better.
	Ideal float64
	// Diameter is how many links the farthest two servers are apart. Beyond
	// 2,048 servers only the distances from so many are measured, and it is a
	// lower bound.
	Diameter     int
	MeanDistance float64 // between two servers, in links
}

// OverlayServer is a server of an Overlay.
type OverlayServer struct {
	Path    Path
	Address string // HOST:PORT that it advertises; empty if only a neighbour told of it
	Degree  int    // links that it has
	// Silent says that it did not answer, so that its links are those that
	// others told of, and Err why.
	Silent bool  `json:",omitempty"`
	Err    error `json:"-"`
}

// OverlayLink is a link between two servers of an Overlay.
type OverlayLink struct {
	A, B     Path // in the order of their IDs
	OneSided bool `json:",omitempty"` // one end told of it, and the other, which answered, did not
}

// How the graph is measured.
const (
	lambdaSteps = 1000 // of the power method
	pathSources = 2048 // servers from which distances are measured
)

// Overlay asks all servers of the circuit for their neighbours, several at a
// time, and measures the graph that their answers make. Servers that do not
// answer are in it with the links that others tell of.
func (c *Client) Overlay(ctx context.Context, opts ...ViewOption) (*Overlay, error) {
	d := drawing{servers: make(map[ServerID]*OverlayServer), links: make(map[[2]ServerID]int)}
	for v, err := range c.ViewServers(ctx, opts...) {
		if err != nil && v.ID == 0 {
			return nil, inOverlay(err)
		}
		d.add(v, inOverlay(err))
	}
	return d.measure(), nil
}

// inOverlay returns the failure of a part as one of Overlay.
func inOverlay(err error) error {
	var e *circuit.Error
	if !errors.As(err, &e) {
		return circuit.At("overlay", "", err)
	}
	c := *e
	c.Op = "overlay"
	return &c
}

// drawing is an Overlay that is being put together.
type drawing struct {
	servers map[ServerID]*OverlayServer
	links   map[[2]ServerID]int // how many ends told of a link
}

func (d *drawing) add(v ServerView, err error) {
	s := d.server(v.ID)
	s.Address, s.Silent, s.Err = v.Address, err != nil, err
	for _, n := range v.Stat.Neighbours {
		d.server(n)
		d.links[[2]ServerID{min(v.ID, n), max(v.ID, n)}]++
	}
}

// server returns a server. One that nobody but a neighbour tells of is silent.
func (d *drawing) server(id ServerID) *OverlayServer {
	s := d.servers[id]
	if s == nil {
		s = &OverlayServer{Path: id.Path(), Silent: true, Err: circuit.At("overlay", id.Path().String(),
			circuit.Errorf(circuit.NotFound, "the dial-in server does not list it, but others have links with it"))}
		d.servers[id] = s
	}
	return s
}

func (d *drawing) measure() *Overlay {
	o := &Overlay{Servers: []OverlayServer{}, Links: []OverlayLink{}}
	g := graph.New(len(d.servers))
	number := make(map[ServerID]int)
	ids := slices.Sorted(maps.Keys(d.servers))
	for i, id := range ids {
		number[id] = i
	}
	for _, ends := range slices.SortedFunc(maps.Keys(d.links), func(a, b [2]ServerID) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	}) {
		g.Link(number[ends[0]], number[ends[1]])
		a, b := d.servers[ends[0]], d.servers[ends[1]]
		l := OverlayLink{A: a.Path, B: b.Path, OneSided: d.links[ends] == 1 && !a.Silent && !b.Silent}
		if l.OneSided {
			o.OneSided++
		}
		o.Links = append(o.Links, l)
	}
	for i, id := range ids {
		s := *d.servers[id]
		s.Degree = g.Degree(i)
		if s.Silent {
			o.Silent++
		}
		o.Servers = append(o.Servers, s)
	}
	degrees, paths := g.Degrees(), g.Paths(pathSources)
	o.MinDegree, o.MeanDegree, o.MaxDegree = degrees.Min, degrees.Mean, degrees.Max
	o.Components = g.Components()
	o.Lambda2, o.Ideal = g.Lambda2(rand.New(rand.NewPCG(1, 2)), lambdaSteps), graph.Bound(degrees.Mean)
	o.Diameter, o.MeanDistance = paths.Longest, paths.Mean
	return o
}
