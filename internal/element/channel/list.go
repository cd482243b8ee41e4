package channel

// list is a doubly linked list of things that have their node in themselves.
// The zero value is empty.
type list[T any] struct {
	first, last *node[T]
	n           int
}

// node makes a T part of at most one list. Its of is set once, to the T.
type node[T any] struct {
	of         *T
	in         *list[T] // nil while it is in none
	prev, next *node[T]
}

// head returns the first, or nil.
func (l *list[T]) head() *T {
	if l.first == nil {
		return nil
	}
	return l.first.of
}

// insert puts n, which is in no list, before at; at nil means at the end.
func (l *list[T]) insert(n, at *node[T]) {
	n.in, n.next = l, at
	if at == nil {
		n.prev, l.last = l.last, n
	} else {
		n.prev, at.prev = at.prev, n
	}
	if n.prev == nil {
		l.first = n
	} else {
		n.prev.next = n
	}
	l.n++
}

func (l *list[T]) push(n *node[T]) { l.insert(n, nil) }

// remove takes n out of the list it is in; it does nothing if it is in none.
func (n *node[T]) remove() {
	l := n.in
	if l == nil {
		return
	}
	if n.prev == nil {
		l.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.in, n.prev, n.next = nil, nil, nil
	l.n--
}
