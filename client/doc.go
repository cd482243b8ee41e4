// Package client is how Go programs use a circuit: they dial any one of its
// servers and from there run, feed, watch and stop processes, and pass messages
// through channels, on every server of the circuit.
//
// # Dialling in
//
//	c, err := client.Dial(ctx, "circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d")
//
// All servers are equal: whichever one a client dials serves the whole circuit.
// With an empty URL, Dial finds a server by itself; see there. A Client
// reconnects when its server went away and came back, or when another of its
// addresses answers. There is no other state in the package: a program may use
// any number of clients, to one circuit or to several.
//
// # Anchors and elements
//
// Everything in a circuit has a path, such as /X56e7a2a0d47a7b5d/hi/charlie:
// the server that hosts it, and names. Each such place is an anchor and holds
// at most one element: a process, a channel, or a subscription to who joins the
// circuit or leaves it. Anchors come into being when something is made at or
// below them and vanish when nothing is left there.
//
//	a, err := c.Walk("/X56e7a2a0d47a7b5d/hi/charlie")
//	p, err := a.MakeProc(ctx, client.Cmd{Path: "/bin/ls", Args: []string{"/"}})
//	_, err = io.Copy(os.Stdout, p.Stdout(ctx))
//	stat, err := p.Wait(ctx)
//	err = p.Scrub(ctx)
//
// Anchor, Proc, Chan, Subscription and Server are handles: making one costs
// nothing and asks nobody. A handle that MakeProc, MakeChan, MakeOnJoin,
// MakeOnLeave or Get returned stands for that one element; once it is gone, the
// handle fails with ErrNotFound and never touches a successor at the same path. A
// handle that an Anchor's Proc, Chan or Subscription returned stands for whatever
// is there.
//
// Elements outlive the client that made them. The end of a client, however
// sudden, ends no process and loses none of its output.
//
// # Errors
//
// Every operation fails with an [*Error], and errors.Is tells its kind, on the
// client just as on the server where it happened:
//
//	if errors.Is(err, client.ErrNotFound) { ... }
//
// ErrUnreachable says that nothing was done, ErrLost that the outcome is not
// known. When a connection breaks, what changes nothing is asked again, readers
// of output go on where they were, waits are repeated, and makes are repeated
// in a way that makes no second element. Sends, receives and writes to a
// process's input are never repeated silently.
//
// Where a context ends when a change has been asked for, and its answer has not
// come, the error is of kind ErrTimeout or ErrCanceled, and errors.Is finds
// ErrLost in it as well.
//
// # Blocking and concurrency
//
// Everything that takes a context ends when the context does. Without a
// deadline, calls still end within 10 seconds, with ErrUnreachable or
// ErrTimeout, if the server they go through is frozen or cut off; they wait
// without limit only for what the circuit itself waits for: an end of a
// process, a receiver, a message, an event, bytes of a stream.
//
// Client, Anchor, Proc, Chan, Subscription and Server may be used by many
// goroutines at once. Stdin, Output, Sender, Receiver, Message and EventReceiver
// are used by one goroutine at a time; cancelling the context that they were made
// with is allowed from anywhere.
package client
