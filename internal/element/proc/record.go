package proc

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/spool"
)

// record is what is kept of a process in a file, so that a server that was
// killed and is started again can list it as lost.
type record struct {
	Path       circuit.Path
	Generation uint64
	Cmd        circuit.Cmd
	Pid        int
	Started    time.Time
	Exit       *Exit `json:",omitempty"` // how it ended, if it did before the server
}

const recordSuffix = ".json"

func (s *Service) recordPath(generation uint64) string {
	return filepath.Join(s.cfg.RecordDir, fmt.Sprintf("%016x%s", generation, recordSuffix))
}

func (s *Service) spoolPath(generation uint64, stream string) string {
	return filepath.Join(s.cfg.SpoolDir, fmt.Sprintf("%016x.%s", generation, stream))
}

// keepRecord keeps a record of p as it is now, where the server has a place for
// records. Errors are of kind Exhausted.
func (s *Service) keepRecord(p *Proc) error {
	if s.cfg.RecordDir == "" {
		return nil
	}
	r := record{Path: p.path, Generation: p.generation, Cmd: p.cmd, Pid: p.pid, Started: p.started}
	if p.hasEnded() {
		r.Exit = &p.exit
	}
	b, err := json.Marshal(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && !p.forgotten {
		err = replaceFile(s.recordPath(p.generation), b)
	}
	if err != nil {
		s.cfg.Log.Warn("the record of a process cannot be written", slog.String("path", p.path.String()), slog.Any("error", err))
		return circuit.Errorf(circuit.Exhausted, "the server cannot record the process in its data directory, whose disk may be full")
	}
	return nil
}

// replaceFile writes a file that is there as a whole or not at all; or, where the
// disk has no room for a second one, in its place.
func replaceFile(path string, b []byte) error {
	next := path + ".new"
	err := os.WriteFile(next, b, 0o600)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err == nil {
		return nil
	}
	os.Remove(next) // where it is there at all, it is a part
	f, inPlace := os.OpenFile(path, os.O_WRONLY, 0)
	if inPlace != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(b)))
}

func (s *Service) forgetRecord(p *Proc) {
	if s.cfg.RecordDir == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgotten = true
	_ = os.Remove(s.recordPath(p.generation)) // what cannot be removed is listed as lost later
}

// Restore lists again the processes of which there are records, left by a server
// that was killed: as lost those that ran, with what output of theirs is in
// files. It removes files of processes without a record.
func (s *Service) Restore() error {
	if s.cfg.RecordDir == "" {
		return nil
	}
	files, err := os.ReadDir(s.cfg.RecordDir)
	if err != nil {
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("the records of processes cannot be read: %v", err))
	}
	known := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), recordSuffix) {
			_ = os.Remove(filepath.Join(s.cfg.RecordDir, f.Name())) // one that was being written
			continue
		}
		if err := s.restore(filepath.Join(s.cfg.RecordDir, f.Name())); err != nil {
			s.cfg.Log.Warn("a process of the server's last run cannot be listed", slog.String("record", f.Name()), slog.Any("error", err))
			continue
		}
		known[strings.TrimSuffix(f.Name(), recordSuffix)] = true
	}
	spools, err := os.ReadDir(s.cfg.SpoolDir)
	if err != nil {
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("the kept output of processes cannot be read: %v", err))
	}
	for _, f := range spools {
		if generation, _, _ := strings.Cut(f.Name(), "."); !known[generation] {
			_ = os.Remove(filepath.Join(s.cfg.SpoolDir, f.Name())) // tried again at the next start
		}
	}
	return nil
}

func (s *Service) restore(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		_ = os.Remove(path) // it will not get better
		return err
	}
	if s.recordPath(r.Generation) != path {
		return fmt.Errorf("the record of generation %016x has another's name", r.Generation)
	}
	p := &Proc{
		service: s, path: r.Path, generation: r.Generation, cmd: r.Cmd, pid: r.Pid, started: r.Started,
		stdin: newInput(nil), over: make(chan struct{}), ended: make(chan struct{}), restored: true, lost: r.Exit == nil,
	}
	if r.Exit != nil {
		p.exit = *r.Exit
	}
	close(p.ended)
	for stream, o := range map[string]**output{stdoutName: &p.stdout, stderrName: &p.stderr} {
		kept, err := spool.Recover(p.spoolConfig(stream))
		if err != nil {
			return err
		}
		*o = &output{spool: kept}
	}
	if err := s.cfg.Tree.Restore(p.path, p.generation, p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[p] = struct{}{}
	s.count++
	return nil
}
