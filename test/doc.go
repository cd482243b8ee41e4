// Package test holds the end-to-end tests: they build the real program once
// and let it work, as servers and clients in processes of their own, on
// loopback. Nobody imports it.
//
// The stories are scripts in testdata/script; what needs counting, timing or
// many processes is a Go test. By default they are short; CIRCUIT_LONG=1 runs
// them at full size. Those in network namespaces, where links are cut and lossy,
// are run by CIRCUIT_NETNS=1, as root. Each test has its own servers, directories
// and keys, and ends whatever it started.
package test
