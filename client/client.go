package client

import (
	"context"
	"iter"

	"github.com/gocircuit/circuit"
)

// Client is a circuit as seen through one of its servers, the dial-in server.
// It may be used by many goroutines at once.
type Client struct{}

// DialIn says which server a client is connected to.
type DialIn struct {
	ID       ServerID
	Address  string // HOST:PORT that was dialled
	Software string // name and version of the server's software, for people
}

// Dial connects to the circuit that url leads to: a circuit URL, or HOST:PORT
// where a key is given. It returns once a server has answered, and takes at
// most 5 seconds, and no longer than ctx; ctx has no meaning for the Client
// afterwards.
//
// With an empty url, the server is the one that the environment variable
// CIRCUIT tells, a file that holds a URL or a URL itself; without CIRCUIT, the
// newest server started on this machine by this user that answers within 300
// milliseconds.
//
// Errors are of kind ErrUnreachable, and say what was tried, ErrDenied where
// the circuit has another key, ErrInvalid for what does not parse or
// contradicts itself, ErrUnsupported where the server's version is too far
// from this one.
func Dial(ctx context.Context, url string, opts ...Option) (*Client, error) {
	newConfig(opts)
	return nil, circuit.Errorf(circuit.Unsupported, "not yet")
}

// Close ends the connection. Calls under way fail with ErrClosed, as all later
// ones do. Elements and processes stay. A second Close does nothing.
func (c *Client) Close() error { return nil }

// DialIn returns the server that the client is connected to, or was last.
func (c *Client) DialIn() DialIn { return DialIn{} }

// Root returns the anchor whose children are the servers.
func (c *Client) Root() *Anchor { return c.Anchor(circuit.Root) }

// Anchor returns the anchor at p, whether or not there is anything.
func (c *Client) Anchor(p Path) *Anchor { return &Anchor{c: c, path: p} }

// Walk returns the anchor at the path with the text path, whether or not there
// is anything. Errors are of kind ErrInvalid.
func (c *Client) Walk(path string) (*Anchor, error) {
	p, err := circuit.ParsePath(path)
	if err != nil {
		return nil, err
	}
	return c.Anchor(p), nil
}

// Server returns the server id.
func (c *Client) Server(id ServerID) *Server { return &Server{a: c.Anchor(id.Path()), id: id} }

// Servers lists the servers of the circuit in the order of their IDs, as the
// dial-in server knows them; no other server is asked. An error ends the
// iteration.
func (c *Client) Servers(ctx context.Context) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {}
}
