package circuit

import "time"

// Change says what an Event tells of.
type Change string

// What events tell of.
const (
	// Present tells of a server that was there when a subscription to joins was
	// made.
	Present Change = "present"
	Joined  Change = "joined" // a server joined, or is back
	Left    Change = "left"   // a server said that it leaves
	Failed  Change = "failed" // a server is gone and did not say so
	// Overflowed tells that events are missing here: more waited than may. Who
	// must know all reads the list of servers again.
	Overflowed Change = "overflow"
)

// Event is what a subscription tells of: a change of the circuit as the server
// that hosts the subscription saw it.
type Event struct {
	Change  Change
	Path    Path      `json:",omitzero"`  // the anchor of the server that it is about; the root with Overflowed
	Address string    `json:",omitempty"` // HOST:PORT that the server advertises
	Version string    `json:",omitempty"` // of its software, once known
	Time    time.Time `json:",omitzero"`  // when the hosting server learnt of it, by its clock
	Lost    int       `json:",omitempty"` // with Overflowed: how many events are missing here
	// Redelivered tells that the event was given to another receiver before, who
	// went away without confirming it, and may have used it.
	Redelivered bool `json:",omitempty"`
}
