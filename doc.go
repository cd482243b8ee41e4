// Package circuit holds the words of The Circuit: paths, server identities,
// URLs, keys, the descriptions and states of elements, and errors. Every other
// package speaks in these words; none defines one of them twice.
//
// It does no input or output, starts no goroutine and keeps no state. All its
// values may be used from several goroutines as long as none of them writes.
//
// Programs that use a circuit import package client, which re-exports the
// words they need.
package circuit
