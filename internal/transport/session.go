package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// session is one live connection and the calls on it. gRPC would replace a
// broken connection behind its callers' backs; a session ends with its
// connection, and all its calls with it.
type session struct {
	conn *secured
	addr string
	cc   *grpc.ClientConn

	ended    chan struct{} // closed when no more calls can be made
	endOnce  sync.Once
	why      atomic.Pointer[string] // set before ended is closed, where it is known
	finished chan struct{}          // closed when watch has returned
	stop     context.CancelFunc     // ends watch

	pending atomic.Int64 // calls
	lastUse atomic.Int64 // when a call last began or ended, as time since conn.wire.began
	asked   atomic.Int64 // when a call first began after bytes last came; the same

	dialer  *Dialer // says whether and how silence is told
	mu      sync.Mutex
	silence *time.Timer    // runs while calls are pending, and up to silentTime longer
	armed   bool           // silence runs, or its function does
	closed  bool           // no further checks
	checks  sync.WaitGroup // silence's function
}

var errEnded = errors.New("the connection ended")

func newSession(c *secured, addr string, d *Dialer) *session {
	s := &session{
		conn: c, addr: addr, dialer: d,
		ended: make(chan struct{}), finished: make(chan struct{}),
	}
	c.onClose = s.end
	return s
}

// start gives the connection to gRPC and waits until the server speaks HTTP/2
// on it, which it does only once it has accepted this side's certificate.
func (s *session) start(ctx context.Context, codec encoding.CodecV2) error {
	given := false // only ever dialled by one goroutine at a time
	cc, err := grpc.NewClient("passthrough:///circuit", dialOptions(codec, func(context.Context, string) (net.Conn, error) {
		if given {
			return nil, errEnded
		}
		given = true
		return s.conn, nil
	})...)
	if err != nil {
		return err
	}
	s.cc = cc
	cc.Connect()
	for state := cc.GetState(); state != connectivity.Ready; state = cc.GetState() {
		failed := state == connectivity.TransientFailure || state == connectivity.Shutdown
		if failed || !cc.WaitForStateChange(ctx, state) {
			s.conn.abort()
			cc.Close()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return s.conn.failure()
		}
	}
	watching, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.watch(watching)
	return nil
}

// watch waits until gRPC takes no more calls on the connection, lets those
// under way end with it, and then disposes of everything.
func (s *session) watch(ctx context.Context) {
	defer close(s.finished)
	s.cc.WaitForStateChange(ctx, connectivity.Ready)
	s.end()
	if ctx.Err() == nil {
		// The server may have said goodbye and still be answering calls.
		select {
		case <-ctx.Done():
		case <-s.conn.gone:
		}
	}
	s.conn.abort()
	s.cc.Close()
	s.mu.Lock()
	s.closed = true
	if s.silence != nil {
		s.silence.Stop()
	}
	s.mu.Unlock()
	s.checks.Wait()
}

// end refuses further calls.
func (s *session) end() { s.endOnce.Do(func() { close(s.ended) }) }

// close ends the session and all its calls, at once.
func (s *session) close(why string) {
	s.why.CompareAndSwap(nil, &why)
	s.end()
	s.conn.abort()
	s.stop()
	<-s.finished
}

func (s *session) isEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// begin counts a call in; it is refused once the session has ended.
func (s *session) begin() error {
	if s.isEnded() {
		return s.over()
	}
	now := int64(time.Since(s.conn.wire.began))
	s.lastUse.Store(now)
	if s.asked.Load() <= s.conn.wire.heard.Load() {
		s.asked.Store(now)
	}
	if s.pending.Add(1) == 1 && !s.dialer.NoSilenceCheck {
		s.arm()
	}
	return nil
}

// done counts a call out.
func (s *session) done() {
	s.lastUse.Store(int64(time.Since(s.conn.wire.began)))
	s.pending.Add(-1)
}

// idleFor returns how long no call was pending; 0 if one is.
func (s *session) idleFor() time.Duration {
	if s.pending.Load() > 0 {
		return 0
	}
	return time.Since(s.conn.wire.began) - time.Duration(s.lastUse.Load())
}

// broken is the error of calls that were under way when the session ended:
// whether the server did what they ask is unknown.
func (s *session) broken() error {
	why := "broke"
	if p := s.why.Load(); p != nil {
		why = *p
	}
	return status.Error(codes.Unavailable, fmt.Sprintf("the connection to %s %s", s.addr, why))
}

// over is the error of calls that came too late: nothing was sent.
func (s *session) over() error { return unreachable(status.Convert(s.broken()).Message()) }

// unreachable is the status of a call of which nothing reached the server.
func unreachable(text string) error {
	return statusOf(codes.Unavailable, circuitv1.Error_UNREACHABLE, text)
}

func statusOf(code codes.Code, kind circuitv1.Error_Kind, text string) error {
	st := status.New(code, text)
	if with, err := st.WithDetails(&circuitv1.Error{Kind: kind, Text: text}); err == nil {
		st = with
	}
	return st.Err()
}

// explain replaces gRPC's account of a call that ended with the session, and
// leaves what the server said, and what the caller did itself, as they are.
func (s *session) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || !s.isEnded() {
		return err
	}
	st, ok := status.FromError(err)
	if !ok || len(st.Proto().GetDetails()) > 0 {
		return err
	}
	switch st.Code() {
	case codes.Unavailable, codes.Canceled:
		return s.broken()
	}
	return err
}

// arm starts the silence check unless it runs.
func (s *session) arm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.armed || s.closed:
		return
	case s.silence == nil:
		s.silence = time.AfterFunc(silentTime, s.check)
	default:
		s.silence.Reset(silentTime)
	}
	s.armed = true
}

// check asks the server for a sign of life if calls are pending and nothing
// has come for silentTime, and ends the session if none comes.
func (s *session) check() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.checks.Add(1)
	s.mu.Unlock()
	defer s.checks.Done()

	silent := min(s.conn.wire.silentFor(), time.Since(s.conn.wire.began)-time.Duration(s.asked.Load()))
	next := silentTime - silent
	if s.pending.Load() > 0 && next <= 0 {
		if !s.alive(silent) {
			fell := fmt.Sprintf("is given up: nothing came for %v", (silent + noticeTime + answerTime).Round(time.Second))
			s.why.CompareAndSwap(nil, &fell)
			s.conn.abort()
			return
		}
		next = silentTime
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = s.pending.Load() > 0 && !s.closed
	if s.armed {
		s.silence.Reset(max(next, time.Millisecond))
	}
}

// alive asks a server that has been silent for a sign of life, and reports
// whether one came in time.
func (s *session) alive(silent time.Duration) bool {
	if s.answers(noticeTime) {
		return true
	}
	if tell := s.dialer.OnSilence; tell != nil && !s.isEnded() {
		tell(s.addr, silent+noticeTime)
	}
	return s.answers(answerTime)
}

// answers makes a health check, and reports whether anything came before it had
// to.
func (s *session) answers(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	asked := time.Now()
	_, err := grpc_health_v1.NewHealthClient(s.cc).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
	return err == nil || s.conn.wire.silentFor() < time.Since(asked)
}
