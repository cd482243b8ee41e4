package server

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/dialfile"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/transport"
)

// DefaultAddr is where a server listens unless told otherwise.
const DefaultAddr = "127.0.0.1" + defaultPort

const defaultPort = ":11022"

// Config configures a server. The zero value is a server of a new circuit on
// DefaultAddr, without a data directory.
type Config struct {
	// Addr is the HOST:PORT to listen on; empty means DefaultAddr, or its port
	// where an interface is named. Port 0 takes any port. An empty or unspecified
	// host listens on all interfaces.
	Addr string
	// Interface names a network interface to listen on the address of. A host in
	// Addr must be one of its addresses. Empty for none.
	Interface string
	// Advertise is the HOST:PORT at which others reach this server. Empty means
	// the address that it listens on, and the machine's first global unicast
	// address where it listens on all.
	Advertise string
	// Join are servers of the circuit to join. Any one that answers is enough;
	// if none does, the server keeps trying. One that leads to the server
	// itself is skipped; overlay.MaxSeeds at most. Empty starts a circuit of its own.
	Join []circuit.URL
	// Key is the circuit's key, if one is configured. If it is zero, the key is
	// that of the URLs in Join, or that kept in DataDir, or a new one; and then
	// the server's URL carries it.
	Key circuit.Key
	// DataDir keeps the server's identity, key, peers and incarnation, and its
	// processes' output, across restarts. It is created with mode 0700. Empty
	// means a temporary directory, removed at the end.
	DataDir string
	// DialFiles is the directory in which local clients find this server.
	// Empty means the user's own.
	DialFiles string
	// Limits bound what grows; zero fields mean the defaults.
	Limits Limits
	// Grace is how long processes have between TERM and KILL when the server
	// stops; 0 means 5 seconds.
	Grace time.Duration
	// Network is what the server listens and dials on; nil means TCP.
	Network transport.Network
	// Version is the version of the software, for people.
	Version string
	// Log takes what operators should know; nil means nowhere. A server logs with
	// its locks held, so whoever writes the log must not wait for who reads it.
	Log *slog.Logger
}

const defaultGrace = 5 * time.Second

// check refuses more servers to join than are tried.
func (c Config) check() error {
	join := make(map[string]bool)
	for _, u := range c.Join {
		join[u.Address()] = true
	}
	if len(join) > overlay.MaxSeeds {
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("%d servers to join are given, and %d at most are tried; one that answers is enough", len(join), overlay.MaxSeeds))
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = DefaultAddr
		if c.Interface != "" {
			c.Addr = defaultPort
		}
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Network == nil {
		c.Network = transport.TCP{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.DialFiles == "" {
		c.DialFiles = dialfile.Dir(os.Getenv)
	}
	c.Limits = c.Limits.withDefaults()
	return c
}
