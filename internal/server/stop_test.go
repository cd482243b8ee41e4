package server_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/server"
)

// stuck is where a log is written that takes nothing before it is freed.
type stuck struct{ free chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.free
	return len(p), nil
}

// TestCloseHangsWithServer closes a server at once that is stuck as a whole: its
// log takes nothing, and it logs with its locks held.
func TestCloseHangsWithServer(t *testing.T) {
	first := start(t, config(t))
	log := stuck{make(chan struct{})}
	cfg := config(t)
	cfg.Join, cfg.Log = []circuit.URL{first.URL()}, slog.New(slog.NewTextHandler(log, nil))
	s, err := server.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first server sees two", func() bool { return len(first.Members()) == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.Close(ctx)
	}()
	select {
	case <-closed:
		if err := s.Err(); !errors.Is(err, circuit.Timeout) {
			t.Errorf("it says %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for what hangs")
	}
	close(log.free)
}
