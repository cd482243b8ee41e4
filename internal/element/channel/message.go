package channel

// overhead is what a message costs beside the memory of its bytes.
const overhead = 256

// message is one message, from its first frame until it is accepted and
// acknowledged, or given up. It is guarded by the lock of its Chan.
//
// It is in one of four places: in the queue (front or blocked), with a receiver
// that has not begun it (receiver.out), with one that has (receiver.unacked),
// or dropped.
type message struct {
	seq  uint64 // order of offering
	node node[message]

	from *sender // who waits for the outcome; nil once told or gone
	slot int     // where in from.pending
	num  uint64  // from's number for it

	data  store
	size  uint64 // bytes that came so far, also those that have left again
	ended bool   // complete
	cost  int64  // what it counts for

	placed      bool // in the queue and holds a place of the buffer
	redelivered bool // a receiver that went away had begun it

	to    *receiver // who has it
	begun bool      // something of it was given out to be written
	keep  bool      // data stays here until acknowledged
	sent  uint64    // bytes given out

	accepted bool // counted as sent

	dropped bool  // given up: nothing is held, and what else comes is ignored
	broken  error // why the receiver that has begun it will not see its end
}

func newMessage(from *sender, num uint64) *message {
	m := &message{from: from, num: num}
	m.node.of = m
	return m
}

// short reports whether m, so far, could be buffered whole.
func (m *message) short() bool { return m.size <= MaxBuffered }

// whole reports whether m can be given to another receiver after this one.
func (m *message) whole() bool { return m.ended && (m.keep || !m.begun) }
