package client

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// software is how clients introduce themselves to servers.
const software = "circuit client"

// Client is a circuit as seen through one of its servers, the dial-in server.
// It may be used by many goroutines at once.
type Client struct {
	conn  *connector
	key   Key
	close sync.Once
}

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
// newest server started on this machine by this user that answers. One that has
// not after 300 milliseconds gives way to older ones, and after 3 seconds none is
// waited for. Time in which a busy machine does not run this program does not count,
// within 10 seconds.
//
// Errors are of kind ErrUnreachable, and say what was tried, ErrDenied where
// the circuit has another key, ErrInvalid for what does not parse or
// contradicts itself, ErrUnsupported where the server's version is too far
// from this one.
func Dial(ctx context.Context, url string, opts ...Option) (*Client, error) {
	cfg := newConfig(opts)
	r, err := cfg.resolve(ctx, url)
	if err != nil {
		return nil, circuit.At("dial", "", err)
	}
	dial, err := cfg.dialer(r.key)
	if err != nil {
		return nil, circuit.At("dial", "", err)
	}
	c := &Client{conn: newConnector(r.targets, dial), key: r.key}
	if r.found != nil {
		c.conn.link, c.conn.dialIn = r.found.link, r.found.dialIn
	} else if err := c.conn.first(ctx); err != nil {
		c.conn.close()
		return nil, circuit.At("dial", "", err)
	}
	return c, nil
}

// dialer returns the function that connects to servers of the circuit of key.
func (c *config) dialer(key Key) (func(context.Context, URL) (link, error), error) {
	cred, err := credential.New(key, credential.Client, 0)
	if err != nil {
		return nil, err
	}
	d := &transport.Dialer{Cred: cred, Network: c.network, Codec: rpc.Codec()}
	if c.notice != nil {
		d.OnSilence = func(addr string, silent time.Duration) {
			c.notice(fmt.Sprintf("%s has not answered for %v; still waiting, up to %v", addr, silent.Round(time.Second), mostSilence))
		}
	}
	return func(ctx context.Context, u URL) (link, error) {
		conn, err := d.Dial(ctx, u.Address(), u.ID)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}, nil
}

// Close ends the connection. Calls under way fail with ErrClosed, as all later
// ones do. Elements and processes stay. A second Close does nothing.
func (c *Client) Close() error {
	c.close.Do(c.conn.close)
	return nil
}

// DialIn returns the server that the client is connected to, or was last.
func (c *Client) DialIn() DialIn {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	return c.conn.dialIn
}

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

// URL returns the URL at which another program can dial in at a server. It
// carries the circuit's key: its String method leaves that out, Secret tells it.
// Pass the secret in an environment or a file, for arguments are seen by all on
// the machine.
func (c *Client) URL(m Member) (URL, error) {
	u, err := circuit.ParseURL(m.Address)
	if err != nil {
		return URL{}, err
	}
	u.Key, u.ID = c.key, m.ID
	return u, nil
}

// Servers lists the servers of the circuit in the order of their IDs, as the
// dial-in server knows them; no other server is asked. An error ends the
// iteration.
func (c *Client) Servers(ctx context.Context) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		err := c.Root().subject("ls").list(ctx, func(ctx context.Context, cc grpc.ClientConnInterface) (func() (bool, error), error) {
			stream, err := circuitv1.NewServersClient(cc).List(ctx, &circuitv1.ListServersRequest{})
			return func() (more bool, err error) {
				reply, err := stream.Recv()
				for _, m := range reply.GetMembers() {
					if !yield(rpc.MemberFromProto(m), nil) {
						return false, nil
					}
				}
				return true, err
			}, err
		})
		if err != nil {
			yield(Member{}, err)
		}
	}
}
