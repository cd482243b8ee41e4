package anchor

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// listBatch is how many entries go into one message of a listing.
const listBatch = 256

// Service is the Anchors service of one tree.
type Service struct {
	circuitv1.UnimplementedAnchorsServer
	tree *Tree
}

var _ circuitv1.AnchorsServer = (*Service)(nil)

// NewService returns the Anchors service of t.
func NewService(t *Tree) *Service { return &Service{tree: t} }

// List implements circuitv1.AnchorsServer.
func (s *Service) List(req *circuitv1.ListRequest, stream grpc.ServerStreamingServer[circuitv1.ListReply]) error {
	path, err := rpc.PathFrom(stream.Context())
	if err != nil {
		return err
	}
	var failed error
	batch := make([]*circuitv1.Entry, 0, listBatch)
	flush := func() bool {
		if len(batch) > 0 {
			failed = stream.Send(&circuitv1.ListReply{Entries: batch})
			batch = make([]*circuitv1.Entry, 0, listBatch)
		}
		return failed == nil
	}
	err = s.tree.List(path, req.GetRecursive(), func(e circuit.Entry) bool {
		batch = append(batch, rpc.EntryToProto(e))
		return len(batch) < listBatch || flush()
	})
	if err != nil {
		return circuit.At("ls", path.String(), err)
	}
	flush()
	return failed
}

// Get implements circuitv1.AnchorsServer.
func (s *Service) Get(ctx context.Context, _ *circuitv1.GetRequest) (*circuitv1.Entry, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, err
	}
	entry, ok := s.tree.Entry(path)
	if !ok {
		return nil, &circuit.Error{Path: path.String(), Kind: circuit.NotFound, Err: errors.New("there is nothing here")}
	}
	return rpc.EntryToProto(entry), nil
}

// Scrub implements circuitv1.AnchorsServer.
func (s *Service) Scrub(ctx context.Context, req *circuitv1.ScrubRequest) (*circuitv1.ScrubReply, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, err
	}
	generation, err := rpc.GenerationFrom(ctx)
	if err != nil {
		return nil, err
	}
	how := Scrub{Mode: req.GetMode(), Grace: time.Duration(req.GetGraceMs()) * time.Millisecond}
	if err := s.tree.Scrub(ctx, path, generation, how); err != nil {
		return nil, circuit.At("scrub", path.String(), err)
	}
	return &circuitv1.ScrubReply{}, nil
}
