package client

import (
	"context"
	"io"
)

// Server is a server of the circuit. It may be used by many goroutines at once.
type Server struct {
	a  *Anchor
	id ServerID
}

// Anchor returns the anchor of the server, below which all that it hosts is.
func (s *Server) Anchor() *Anchor { return s.a }

// Path returns the path of the server's anchor.
func (s *Server) Path() Path { return s.a.path }

// ID returns the server's identity.
func (s *Server) ID() ServerID { return s.id }

// Kind returns KindNone.
func (s *Server) Kind() Kind { return KindNone }

// Generation returns 0.
func (s *Server) Generation() uint64 { return 0 }

func (s *Server) element() {}

// Stat returns the state of the server.
func (s *Server) Stat(ctx context.Context) (ServerStat, error) { return ServerStat{}, nil }

// Stacks writes the stacks of the server's goroutines to w, as text.
func (s *Server) Stacks(ctx context.Context, w io.Writer) error { return nil }

// Suicide lets the server leave the circuit, end what its users run, and exit.
// It returns once the server has begun to.
func (s *Server) Suicide(ctx context.Context) error { return nil }

// Join merges the server's circuit with the one that url leads to, and returns
// once the two are one. ErrDenied says that their keys differ.
func (s *Server) Join(ctx context.Context, url string) error { return nil }
