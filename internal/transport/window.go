package transport

// window remembers which counters were seen, so that a datagram counts once:
// the sliding window of RFC 4303, 3.4.3. Counters begin at 1.
type window struct {
	top  uint32 // the highest counter seen
	seen uint64 // bit i: top-i was
}

// accept reports whether a counter is new, and marks it as seen. What is more
// than 63 behind the highest is not new: nobody knows any more.
func (w *window) accept(counter uint32) bool {
	if counter == 0 {
		return false
	}
	if counter > w.top {
		w.seen = w.seen<<(counter-w.top) | 1 // a shift by 64 or more leaves nothing
		w.top = counter
		return true
	}
	bit := uint64(1) << (w.top - counter) // 0 when it is too far behind
	if bit == 0 || w.seen&bit != 0 {
		return false
	}
	w.seen |= bit
	return true
}
