package circuit

// Kind says what an anchor holds. Kinds are open: a server may host kinds that
// a client has never heard of, and passes them on unread.
type Kind string

// The kinds of today. An anchor without an element, a server's included, has
// kind None.
const (
	None Kind = ""
	Proc Kind = "proc"
	Chan Kind = "chan"
	// Subscriptions: to the servers that are in the circuit and those that join
	// it, and to those that leave it.
	OnJoin  Kind = "@join"
	OnLeave Kind = "@leave"
)

// String returns the kind as listings print it: "proc", "chan", "@join",
// "@leave", and "----" for None.
func (k Kind) String() string {
	if k == None {
		return "----"
	}
	return string(k)
}

// Entry is one anchor in a listing.
type Entry struct {
	Path       Path
	Kind       Kind
	Generation uint64 `json:",omitempty,string"` // identifies the element; 0 for None. Not every reader of JSON takes such a number
	State      string `json:",omitempty"`        // one word or a few, by kind, such as "running"
}
