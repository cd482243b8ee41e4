package server

import (
	"path/filepath"

	"github.com/gocircuit/circuit/internal/element/proc"
)

// newProcs makes the process service, with what is left of an earlier run.
func (s *Server) newProcs() (*proc.Service, error) {
	cfg := proc.Config{
		Tree:        s.tree,
		Host:        proc.NewLocal(),
		SpoolDir:    filepath.Join(s.state.dir, spoolDir),
		StreamSpool: s.cfg.Limits.StreamSpool,
		Spool:       s.cfg.Limits.Spool,
		SpoolMemory: s.cfg.Limits.SpoolMemory,
		MaxProcs:    int(s.cfg.Limits.Processes),
		Grace:       s.cfg.Grace,
		Log:         s.log,
	}
	if !s.state.temp {
		cfg.RecordDir = filepath.Join(s.state.dir, procsDir)
	}
	procs := proc.NewService(cfg)
	return procs, procs.Restore()
}
