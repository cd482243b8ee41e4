// Package rpc is what every service and every caller of the wire shares: the
// codec with its zero-copy frames and raw messages, the metadata that routes
// calls, errors to and from statuses, and the conversions between the wire's
// messages and the words of package circuit.
//
// Services, the router and package client use it. It keeps no state; all its
// functions may be called concurrently.
package rpc
