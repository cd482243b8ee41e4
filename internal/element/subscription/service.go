package subscription

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Config configures a Service.
type Config struct {
	// Tree is where the subscriptions are.
	Tree *anchor.Tree
	// Self is this server, which is in its circuit from the beginning.
	Self circuit.Member
	// MaxSubscriptions limits how many subscriptions there can be. Beyond it
	// Make fails with Exhausted. 0 means DefaultSubscriptions.
	MaxSubscriptions int
	// MaxEvents limits how many events wait in one subscription. Beyond it the
	// oldest are given up, and receivers are told so. 0 means DefaultEvents.
	MaxEvents int
}

// The defaults of Config.
const (
	DefaultSubscriptions = 1000
	DefaultEvents        = 1 << 16
)

// Service is the Subscriptions service of one tree of anchors. Its methods may
// be called concurrently, but for Tell.
type Service struct {
	circuitv1.UnimplementedSubscriptionsServer
	cfg     Config
	readers sync.WaitGroup

	mu      sync.Mutex
	present map[circuit.ServerID]circuit.Member // the servers in the circuit, as Tell had it
	all     map[*Subscription]struct{}
}

var _ circuitv1.SubscriptionsServer = (*Service)(nil)

// NewService returns the Subscriptions service of cfg.Tree.
func NewService(cfg Config) *Service {
	if cfg.MaxSubscriptions == 0 {
		cfg.MaxSubscriptions = DefaultSubscriptions
	}
	if cfg.MaxEvents == 0 {
		cfg.MaxEvents = DefaultEvents
	}
	return &Service{
		cfg:     cfg,
		present: map[circuit.ServerID]circuit.Member{cfg.Self.ID: cfg.Self},
		all:     make(map[*Subscription]struct{}),
	}
}

// Tell tells all subscriptions that a server Joined, Left or Failed. It does not
// block. Events are told in order: by one goroutine at a time.
func (s *Service) Tell(e circuit.Event) {
	id, _ := e.Path.Server()
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := circuit.OnLeave
	if e.Change == circuit.Joined {
		kind = circuit.OnJoin
		s.present[id] = circuit.Member{ID: id, Address: e.Address, Joined: e.Time, Version: e.Version}
	} else {
		delete(s.present, id)
	}
	for sub := range s.all {
		if sub.kind == kind {
			sub.tell(&e)
		}
	}
}

// Wait waits for the goroutines that calls left behind. It is called once the
// gRPC servers that the service was registered with have stopped.
func (s *Service) Wait() { s.readers.Wait() }

// Count returns how many subscriptions there are.
func (s *Service) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// subscribe returns a new subscription, which begins now.
func (s *Service) subscribe(kind circuit.Kind) (*Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= s.cfg.MaxSubscriptions {
		return nil, circuit.Errorf(circuit.Exhausted, fmt.Sprintf("this server has its limit of %d subscriptions; scrub some, or raise the limit subscriptions", s.cfg.MaxSubscriptions))
	}
	sub := newSubscription(kind, s.cfg.MaxEvents, s.forget)
	if kind == circuit.OnJoin {
		for _, id := range slices.Sorted(maps.Keys(s.present)) {
			m := s.present[id]
			sub.tell(&circuit.Event{Change: circuit.Present, Path: id.Path(), Address: m.Address, Version: m.Version, Time: m.Joined})
		}
	}
	s.all[sub] = struct{}{}
	return sub, nil
}

// forget forgets a subscription that was scrubbed.
func (s *Service) forget(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sub)
}

// Make implements circuitv1.SubscriptionsServer.
func (s *Service) Make(ctx context.Context, req *circuitv1.MakeSubscriptionRequest) (*circuitv1.MakeReply, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, err
	}
	kind := circuit.Kind(req.GetKind())
	op := "mk" + req.GetKind()
	if kind != circuit.OnJoin && kind != circuit.OnLeave {
		return nil, &circuit.Error{Op: "subscribe", Path: path.String(), Kind: circuit.Unsupported, Err: fmt.Errorf("this server knows no subscription %.80q; there are %s and %s", req.GetKind(), circuit.OnJoin, circuit.OnLeave)}
	}
	generation, err := s.cfg.Tree.Make(ctx, path, req.GetNonce(), func(uint64) (anchor.Element, error) {
		return s.subscribe(kind)
	})
	if err != nil {
		return nil, circuit.At(op, path.String(), err)
	}
	return &circuitv1.MakeReply{Generation: generation}, nil
}

// Stat implements circuitv1.SubscriptionsServer.
func (s *Service) Stat(ctx context.Context, _ *circuitv1.StatSubscriptionRequest) (*circuitv1.SubscriptionStat, error) {
	sub, _, err := s.find(ctx, "peek")
	if err != nil {
		return nil, err
	}
	return rpc.SubscriptionStatToProto(sub.Stat()), nil
}

// find returns the subscription that a call concerns, and its path.
func (s *Service) find(ctx context.Context, op string) (*Subscription, string, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, "", err
	}
	generation, err := rpc.GenerationFrom(ctx)
	if err != nil {
		return nil, "", err
	}
	e, _, err := s.cfg.Tree.Get(path, generation)
	if err != nil {
		return nil, "", circuit.At(op, path.String(), err)
	}
	sub, ok := e.(*Subscription)
	if !ok {
		return nil, "", &circuit.Error{Op: op, Path: path.String(), Kind: circuit.Invalid, Err: fmt.Errorf("there is a %s here, not a subscription", e.Kind())}
	}
	return sub, path.String(), nil
}

type recvStream = grpc.BidiStreamingServer[circuitv1.RecvRequest, circuitv1.RecvEventsReply]

// Recv implements circuitv1.SubscriptionsServer.
func (s *Service) Recv(stream recvStream) error {
	ctx := stream.Context()
	sub, path, err := s.find(ctx, "recv")
	if err != nil {
		return err
	}
	call, err := sub.open()
	if err != nil {
		return circuit.At("recv", path, err)
	}
	defer call.leave()
	s.readers.Go(func() { readRequests(stream, call) })
	for {
		d, err := call.next(ctx)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return circuit.At("recv", path, err)
		}
		if err := stream.Send(d.reply()); err != nil {
			return err
		}
	}
}

// reply returns the message that carries d.
func (d *delivery) reply() *circuitv1.RecvEventsReply {
	reply := &circuitv1.RecvEventsReply{Confirmed: d.confirmed}
	for _, e := range d.events {
		reply.Number = d.number
		reply.Events = append(reply.Events, rpc.EventToProto(e))
	}
	return reply
}

// readRequests passes requests on to call until there are no more.
func readRequests(stream recvStream, call *receiver) {
	for {
		req, err := stream.Recv()
		switch {
		case err == io.EOF:
			call.finish()
			return
		case err != nil:
			if stream.Context().Err() == nil {
				call.fail(errUnreadable)
			}
			return
		}
		if call.request(req.GetCredit(), req.GetAck()) != nil {
			return
		}
	}
}

// errUnreadable ends calls whose next request cannot be read although they are
// not over.
var errUnreadable = circuit.Errorf(circuit.Invalid, "what the client sent is not understood, or too long")
