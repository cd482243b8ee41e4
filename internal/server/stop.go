package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/dialfile"
)

// How long the stages of stopping may take.
const (
	leaveTime = 2 * time.Second // to tell the circuit
	drainTime = time.Second     // for calls to end by themselves

	stopTime  = 15 * time.Second // all of them, beyond the grace of processes
	hurryTime = 2 * time.Second  // all that is left once there is no time
)

// serve begins to accept connections, and lets local clients find the server.
func (s *Server) serve() {
	for i, role := range []credential.Role{credential.Client, credential.Server} {
		g, l := s.grpc[i], s.listener.Role(role)
		s.serving.Go(func() {
			if err := g.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				s.log.Error("the server no longer accepts connections", slog.Any("error", err))
			}
		})
	}
	u := s.url
	u.Key = s.key
	var err error
	if s.dialFile, err = dialfile.Write(s.cfg.DialFiles, u); err != nil {
		s.log.Warn("local clients cannot find this server by themselves; tell them with -d", slog.Any("error", err))
	}
}

// Close stops the server: it leaves the circuit, ends what its users run, and
// returns when all is done. When ctx ends, it does the rest at once. Every call
// returns when the server has stopped, which needs only one. What hangs, as with a
// disk that does not answer, is not waited for without end: it is left to the end
// of the process.
func (s *Server) Close(ctx context.Context) {
	s.suicide()
	select {
	case <-s.done:
	case <-ctx.Done():
		s.mu.Lock()
		if !s.hurried {
			s.hurried = true
			close(s.stopNow)
		}
		s.mu.Unlock()
		<-s.done
	}
}

// suicide begins to stop the server.
func (s *Server) suicide() {
	s.stop.Do(func() { go s.shutdown() }) // ends by closing done, which Close waits for
}

// shutdown lets the server end, in the time that there is.
func (s *Server) shutdown() {
	defer close(s.done)
	<-s.ready // the mesh may ask for it while the server is still being put together
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.end()
	}()
	select {
	case <-ended:
		return
	case <-s.stopNow:
	case <-time.After(s.cfg.Grace + stopTime - hurryTime):
	}
	select {
	case <-ended:
	case <-time.After(hurryTime):
		s.blame(circuit.At("start", "", circuit.Errorf(circuit.Timeout, "the server did not stop as it should; something that it waits for hangs, perhaps a disk")))
	}
}

// end ends all that the server consists of.
func (s *Server) end() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-s.stopNow:
			cancel()
		case <-ctx.Done():
		}
	})
	s.dialFile.Close()
	leave, cancelLeave := context.WithTimeout(ctx, leaveTime)
	if s.mesh.Leave(leave) != nil {
		s.log.Warn("the circuit may not know that this server leaves, for it stops in a hurry")
	}
	cancelLeave()
	s.procs.Shutdown(ctx, s.cfg.Grace)
	s.mesh.Close()
	s.trim.stop()
	s.packets.Close()
	s.cancelCalls()
	s.drain(ctx)
	s.serving.Wait()
	s.procs.Drain()
	s.chans.Wait()
	s.subs.Wait()
	s.pool.Close()
	s.listener.Close()
	s.router.Close()
	s.state.close()
	cancel()
	watch.Wait()
}

// drain ends the services: calls that are about to end may do so.
func (s *Server) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	var stopping sync.WaitGroup
	for _, g := range s.grpc {
		stopping.Go(func() { drain(ctx, g) })
	}
	stopping.Wait()
}

func drain(ctx context.Context, g *grpc.Server) {
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	g.GracefulStop()
}

// abort releases what a Start that failed had made. The mesh is not among it:
// nothing can fail after it.
func (s *Server) abort() {
	s.trim.stop()
	if s.procs != nil {
		s.procs.Shutdown(context.Background(), 0)
	}
	if s.pool != nil {
		s.pool.Close()
	}
	s.packets.Close()
	if s.listener != nil {
		s.listener.Close()
	}
	if s.state != nil {
		s.state.close()
	}
}
