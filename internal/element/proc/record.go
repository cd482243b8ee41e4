package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/spool"
)

// record is what is kept of a process in a file, so that a server that is
// started again can list it: as it ended, or as lost if it had not.
type record struct {
	Path       circuit.Path
	Generation uint64
	Cmd        circuit.Cmd
	Pid        int
	Mark       string `json:",omitempty"` // of the child, for Host.EndLeft
	Started    time.Time
	Exit       *Exit `json:",omitempty"` // how it ended, if it did before the server
	// How much it wrote, once it has ended and so have its streams. All of that
	// which is kept is then in files.
	Stdout, Stderr *uint64 `json:",omitempty"`
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
	r := record{Path: p.path, Generation: p.generation, Cmd: p.cmd, Pid: p.pid, Mark: p.mark, Started: p.started}
	if p.hasEnded() {
		r.Exit, r.Stdout, r.Stderr = &p.exit, p.stdout.length(), p.stderr.length()
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

// Restore lists again the processes of which there are records, left by an
// earlier run of the server: as lost those that ran when it was killed, with what
// output of theirs is in files. What is left of those is ended, where the system
// tells. It removes files of processes without a record.
func (s *Service) Restore() error {
	if s.cfg.RecordDir == "" {
		return nil
	}
	files, err := os.ReadDir(s.cfg.RecordDir)
	if err != nil {
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("the records of processes cannot be read: %v", err))
	}
	known, left := map[string]bool{}, map[int]string{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), recordSuffix) {
			_ = os.Remove(filepath.Join(s.cfg.RecordDir, f.Name())) // one that was being written
			continue
		}
		if err := s.restore(filepath.Join(s.cfg.RecordDir, f.Name()), left); err != nil {
			s.cfg.Log.Warn("a process of the server's last run cannot be listed", slog.String("record", f.Name()), slog.Any("error", err))
			continue
		}
		known[strings.TrimSuffix(f.Name(), recordSuffix)] = true
	}
	s.cfg.Host.EndLeft(left)
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

// restore lists the process of a record, and adds its mark to left if some of
// its group may be left.
func (s *Service) restore(path string, left map[int]string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		_ = os.Remove(path) // it will not get better
		return errors.New("the record is damaged, and was removed")
	}
	if s.recordPath(r.Generation) != path {
		return fmt.Errorf("the record of generation %016x has another's name", r.Generation)
	}
	if r.Exit == nil || r.Stdout == nil || r.Stderr == nil {
		left[r.Pid] = r.Mark
	}
	p := &Proc{
		service: s, path: r.Path, generation: r.Generation, cmd: r.Cmd, pid: r.Pid, mark: r.Mark, started: r.Started,
		stdin: newInput(nil), settled: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{}), lost: r.Exit == nil,
	}
	if r.Exit != nil {
		p.exit = *r.Exit
	}
	close(p.ended)
	close(p.settled)
	if p.stdout, err = p.recoverOutput(stdoutName, r.Stdout); err != nil {
		return err
	}
	if p.stderr, err = p.recoverOutput(stderrName, r.Stderr); err != nil {
		return err
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

// recoverOutput returns what there is of a stream that was this long, if that
// is known.
func (p *Proc) recoverOutput(stream string, length *uint64) (*output, error) {
	written := uint64(0)
	if length != nil {
		written = *length
	}
	kept, err := spool.Recover(p.spoolConfig(stream), written)
	if err != nil {
		return nil, err
	}
	o := &output{spool: kept, cut: length == nil}
	if have := kept.Stat().Written; have < written {
		o.cut, o.missing = true, written-have
	}
	return o, nil
}

// settle makes what is kept of a process that has ended, and its record, such
// that they survive the server. Its streams have ended.
func (p *Proc) settle() {
	if p.service.cfg.RecordDir == "" {
		return
	}
	for _, o := range []*output{p.stdout, p.stderr} {
		if err := o.spool.Save(); err != nil {
			p.service.cfg.Log.Warn("the output of a process that has ended stays in memory, and is lost if the server is killed", slog.String("path", p.path.String()), slog.Any("error", err))
		}
	}
	_ = p.service.keepRecord(p) // which logs it
}

// leave gives up what the element holds, but not what Restore finds. The process
// has ended; what it wrote last has until ctx ends to arrive.
func (p *Proc) leave(ctx context.Context) {
	p.mu.Lock()
	forgotten := p.abandoned || p.forgotten
	p.mu.Unlock()
	if forgotten || p.cmd.Scrub && !p.lost || p.service.cfg.RecordDir == "" {
		p.end()
		return
	}
	p.release.Do(func() {
		select {
		case <-p.settled:
		case <-ctx.Done():
		}
		p.letGo()
		p.stdout.stop()
		p.stderr.stop()
		p.copiers.Wait()
		<-p.settled
		p.stdout.spool.Leave()
		p.stderr.spool.Leave()
		p.service.dismiss(p)
	})
}
