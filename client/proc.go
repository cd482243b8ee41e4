package client

import "context"

// Proc is a process element. It may be used by many goroutines at once.
type Proc struct{ handle }

// Kind returns KindProc.
func (p *Proc) Kind() Kind { return KindProc }

// Stat returns the state of the process.
func (p *Proc) Stat(ctx context.Context) (ProcStat, error) { return ProcStat{}, nil }

// Wait waits until the process has ended, whatever its streams do, and returns
// its state. A process that failed is no error: the state's ExitCode says so.
// Wait survives broken connections as long as some dial-in server comes back
// in time.
func (p *Proc) Wait(ctx context.Context) (ProcStat, error) { return ProcStat{}, nil }

// Signal sends a signal to the process and the others of its process group. It
// is named as "TERM" or "SIGTERM", or by the number that it has on the hosting
// system. ErrClosed says that the process has ended.
func (p *Proc) Signal(ctx context.Context, name string) error { return nil }
