// Package transport makes the circuit's connections: authenticated by the
// circuit's key on both sides, tuned for gRPC, and never silently dead.
//
// A Listener accepts TLS connections under strangers' fire and sorts them by
// the role of who dialled; ServerOptions are the settings of the grpc.Servers
// that serve them. A Dialer makes Conns; a Pool keeps those that a server has
// to others. A Network is where both happen: TCP, or for tests Memory, whose
// links can be cut. Package client and the rooms of the server call it.
//
// All types may be used by any number of goroutines. What blocks takes a
// context or says what ends it. Every goroutine that a Listener, Conn or Pool
// starts has ended when its Close returns.
package transport
