package client

import (
	"context"

	"google.golang.org/grpc"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Proc is a process element. It may be used by many goroutines at once.
type Proc struct{ handle }

// Kind returns KindProc.
func (p *Proc) Kind() Kind { return KindProc }

// Stat returns the state of the process.
func (p *Proc) Stat(ctx context.Context) (stat ProcStat, err error) {
	err = p.subject("peek").do(ctx, reads, func(ctx context.Context, c grpc.ClientConnInterface) error {
		reply, err := circuitv1.NewProcsClient(c).Stat(ctx, &circuitv1.StatProcRequest{})
		if err == nil {
			stat = rpc.ProcStatFromProto(reply)
		}
		return err
	})
	return stat, err
}

// Wait waits until the process has ended, whatever its streams do, and returns
// its state. A process that failed is no error: the state's ExitCode says so.
// Wait survives broken connections as long as some dial-in server comes back
// in time.
func (p *Proc) Wait(ctx context.Context) (stat ProcStat, err error) {
	err = p.subject("wait").do(ctx, waits, func(ctx context.Context, c grpc.ClientConnInterface) error {
		reply, err := circuitv1.NewProcsClient(c).Wait(ctx, &circuitv1.WaitProcRequest{})
		if err == nil {
			stat = rpc.ProcStatFromProto(reply)
		}
		return err
	})
	return stat, err
}

// Signal sends a signal to the process and the others of its process group. It
// is named as "TERM" or "SIGTERM", or by the number that it has on the hosting
// system. ErrClosed says that the process has ended, and all of its group.
func (p *Proc) Signal(ctx context.Context, name string) error {
	return p.subject("signal").do(ctx, acts, func(ctx context.Context, c grpc.ClientConnInterface) error {
		_, err := circuitv1.NewProcsClient(c).Signal(ctx, &circuitv1.SignalProcRequest{Signal: name})
		return err
	})
}
