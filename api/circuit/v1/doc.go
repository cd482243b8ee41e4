// Package circuitv1 is the public wire of The Circuit: the messages and
// services that the .proto files beside it describe, as generated Go code. The
// services' rooms and package client speak it; users of package client never
// see it.
//
// Messages may be read from several goroutines at once, and written by one as
// long as nobody else touches them; clients and servers are as safe for
// concurrent use as gRPC makes them.
package circuitv1
