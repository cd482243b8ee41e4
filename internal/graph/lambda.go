package graph

import (
	"math"
	"math/rand/v2"
)

// Lambda2 estimates the second largest absolute eigenvalue of the graph's random
// walk: of A/d where every node has d links, which is |lambda2|/d, and of
// D^-1/2 A D^-1/2 in general. It is between 0 and 1. The smaller, the better a
// graph expands: 1 says that it falls into parts, or is bipartite; Bound says what can
// be hoped for.
//
// The power method gives a lower bound that grows towards the true value with
// its steps, of which one takes time in proportion to the links: after k steps
// on n nodes it is too small by about ln(n)/2k of the value at worst. It stops
// early when it no longer grows.
func (g *Graph) Lambda2(r *rand.Rand, steps int) float64 {
	n := g.Len()
	if n < 2 || len(g.Components()) > 1 {
		return 1
	}
	first := make([]float64, n) // the eigenvector of eigenvalue 1
	scale := make([]float64, n) // D^-1/2
	for i := range n {
		first[i] = math.Sqrt(float64(g.Degree(i)))
		scale[i] = 1 / first[i]
	}
	normalise(first)
	x, next, scaled := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	project(x, first)
	normalise(x)
	lambda := 0.0
	for still := 0; steps > 0 && still < stillSteps; steps-- {
		for i := range x {
			scaled[i] = x[i] * scale[i]
		}
		g.walk(next, scaled, scale)
		project(next, first) // rounding lets it in again
		grown := normalise(next)
		if grown == 0 {
			return 0
		}
		x, next = next, x
		if still++; grown > lambda*(1+grain) {
			still = 0
		}
		lambda = max(lambda, grown)
	}
	return min(lambda, 1)
}

// When an estimate no longer grows.
const (
	grain      = 1e-7
	stillSteps = 3
)

// walk sets y to D^-1/2 A x.
func (g *Graph) walk(y, x, scale []float64) {
	for i, neighbours := range g.neighbours {
		sum := 0.0
		for _, j := range neighbours {
			sum += x[j]
		}
		y[i] = sum * scale[i]
	}
}

// project takes what is along a unit vector out of x.
func project(x, unit []float64) {
	dot := 0.0
	for i := range x {
		dot += x[i] * unit[i]
	}
	for i := range x {
		x[i] -= dot * unit[i]
	}
}

// normalise gives x the length 1, and returns which it had.
func normalise(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	length := math.Sqrt(sum)
	if length > 0 {
		for i := range x {
			x[i] /= length
		}
	}
	return length
}

// Bound returns 2*sqrt(d-1)/d, which no family of growing graphs of degree d stays below
// (Alon and Boppana), and which random ones come close to (Friedman). Graphs
// with few nodes for their degree do better. For a degree of 2 or less it is 1.
func Bound(degree float64) float64 {
	if degree <= 2 {
		return 1
	}
	return 2 * math.Sqrt(degree-1) / degree
}
