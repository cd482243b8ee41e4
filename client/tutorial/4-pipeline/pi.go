package main

import "math"

// block is how many digits one task computes. A double holds that many that
// are right for any position below some ten million.
const block = 8

// piDigits returns block hexadecimal digits of pi, from position at after the
// point, by the formula of Bailey, Borwein and Plouffe (1997), which gives them
// without those before.
func piDigits(at int) string {
	x := 4*series(1, at) - 2*series(4, at) - series(5, at) - series(6, at)
	x -= math.Floor(x)
	const hex = "0123456789ABCDEF"
	digits := make([]byte, block)
	for i := range digits {
		x *= 16
		digits[i] = hex[int(x)]
		x -= math.Floor(x)
	}
	return string(digits)
}

// series returns the fraction of the sum of 16^(at-k) / (8k+j) over all k.
func series(j, at int) float64 {
	sum := 0.0
	for k := range at {
		m := 8*k + j
		sum += float64(power16(at-k, m)) / float64(m)
		sum -= math.Floor(sum)
	}
	for k, p := at, 1.0; p > 1e-17; k, p = k+1, p/16 {
		sum += p / float64(8*k+j)
	}
	return sum - math.Floor(sum)
}

// power16 returns 16^n modulo m.
func power16(n, m int) int {
	result, base := 1%m, 16%m
	for ; n > 0; n /= 2 {
		if n%2 == 1 {
			result = result * base % m
		}
		base = base * base % m
	}
	return result
}
