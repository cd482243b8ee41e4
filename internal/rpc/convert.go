package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// CmdToProto returns the wire's form of c.
func CmdToProto(c circuit.Cmd) *circuitv1.Cmd {
	p := &circuitv1.Cmd{
		Dir: c.Dir, Path: c.Path, Args: c.Args, Scrub: c.Scrub,
		Spool: uint64(max(c.Spool, 0)), Overflow: string(c.Overflow),
	}
	if c.Env != nil {
		p.Env = &circuitv1.Cmd_Env{Vars: c.Env}
	}
	return p
}

// CmdFromProto is the inverse of CmdToProto. It does not validate.
func CmdFromProto(p *circuitv1.Cmd) circuit.Cmd {
	c := circuit.Cmd{
		Dir: p.GetDir(), Path: p.GetPath(), Args: p.GetArgs(), Scrub: p.GetScrub(),
		Spool: circuit.Size(p.GetSpool()), Overflow: circuit.Overflow(p.GetOverflow()),
	}
	if p.GetEnv() != nil {
		c.Env = append([]string{}, p.GetEnv().GetVars()...)
	}
	return c
}

// ProcStatToProto returns the wire's form of s.
func ProcStatToProto(s circuit.ProcStat) *circuitv1.ProcStat {
	return &circuitv1.ProcStat{
		Cmd: CmdToProto(s.Cmd), Phase: string(s.Phase), Exit: s.Exit, Pid: int64(s.Pid),
		Started: stamp(s.Started), Ended: stamp(s.Ended), ExitCode: int32(s.ExitCode), Signal: s.Signal,
		CpuTime: durationpb.New(s.CPUTime), MaxRss: uint64(s.MaxRSS),
		Stdin:  &circuitv1.InputStat{Written: s.Stdin.Written, Closed: s.Stdin.Closed},
		Stdout: outputToProto(s.Stdout), Stderr: outputToProto(s.Stderr),
	}
}

// ProcStatFromProto is the inverse of ProcStatToProto.
func ProcStatFromProto(p *circuitv1.ProcStat) circuit.ProcStat {
	return circuit.ProcStat{
		Cmd: CmdFromProto(p.GetCmd()), Phase: circuit.Phase(p.GetPhase()), Exit: p.Exit, Pid: int(p.GetPid()),
		Started: unstamp(p.GetStarted()), Ended: unstamp(p.GetEnded()), ExitCode: int(p.GetExitCode()), Signal: p.GetSignal(),
		CPUTime: p.GetCpuTime().AsDuration(), MaxRSS: circuit.Size(p.GetMaxRss()),
		Stdin:  circuit.InputStat{Written: p.GetStdin().GetWritten(), Closed: p.GetStdin().GetClosed()},
		Stdout: outputFromProto(p.GetStdout()), Stderr: outputFromProto(p.GetStderr()),
	}
}

func outputToProto(s circuit.OutputStat) *circuitv1.OutputStat {
	return &circuitv1.OutputStat{Written: s.Written, Kept: s.Kept, GivenUp: s.GivenUp, Ended: s.Ended, Blocked: s.Blocked}
}

func outputFromProto(p *circuitv1.OutputStat) circuit.OutputStat {
	return circuit.OutputStat{Written: p.GetWritten(), Kept: p.GetKept(), GivenUp: p.GetGivenUp(), Ended: p.GetEnded(), Blocked: p.GetBlocked()}
}

// ChanStatToProto returns the wire's form of s.
func ChanStatToProto(s circuit.ChanStat) *circuitv1.ChanStat {
	return &circuitv1.ChanStat{
		Cap: uint32(s.Cap), Closed: s.Closed, Aborted: s.Aborted, NumSend: uint64(s.NumSend), NumRecv: uint64(s.NumRecv),
		Buffered: uint64(s.Buffered), BufferedBytes: uint64(s.BufferedBytes), Senders: uint64(s.Senders),
		Receivers: uint64(s.Receivers), Redelivered: uint64(s.Redelivered),
	}
}

// ChanStatFromProto is the inverse of ChanStatToProto.
func ChanStatFromProto(p *circuitv1.ChanStat) circuit.ChanStat {
	return circuit.ChanStat{
		Cap: int(p.GetCap()), Closed: p.GetClosed(), Aborted: p.GetAborted(), NumSend: int(p.GetNumSend()), NumRecv: int(p.GetNumRecv()),
		Buffered: int(p.GetBuffered()), BufferedBytes: circuit.Size(p.GetBufferedBytes()), Senders: int(p.GetSenders()),
		Receivers: int(p.GetReceivers()), Redelivered: int(p.GetRedelivered()),
	}
}

// SubscriptionStatToProto returns the wire's form of s.
func SubscriptionStatToProto(s circuit.SubscriptionStat) *circuitv1.SubscriptionStat {
	return &circuitv1.SubscriptionStat{
		Kind: string(s.Kind), Pending: uint64(s.Pending), Overflow: uint64(s.Overflow), Limit: uint64(s.Limit),
		NumEvents: uint64(s.NumEvents), NumRecv: uint64(s.NumRecv), Receivers: uint64(s.Receivers), Redelivered: uint64(s.Redelivered),
	}
}

// SubscriptionStatFromProto is the inverse of SubscriptionStatToProto.
func SubscriptionStatFromProto(p *circuitv1.SubscriptionStat) circuit.SubscriptionStat {
	return circuit.SubscriptionStat{
		Kind: circuit.Kind(p.GetKind()), Pending: int(p.GetPending()), Overflow: int(p.GetOverflow()), Limit: int(p.GetLimit()),
		NumEvents: int(p.GetNumEvents()), NumRecv: int(p.GetNumRecv()), Receivers: int(p.GetReceivers()), Redelivered: int(p.GetRedelivered()),
	}
}

// EventToProto returns the wire's form of e.
func EventToProto(e circuit.Event) *circuitv1.Event {
	id, _ := e.Path.Server() // 0 for the root
	return &circuitv1.Event{
		Change: string(e.Change), Server: uint64(id), Address: e.Address, Version: e.Version,
		Time: stamp(e.Time), Lost: uint64(e.Lost), Redelivered: e.Redelivered,
	}
}

// EventFromProto is the inverse of EventToProto.
func EventFromProto(p *circuitv1.Event) circuit.Event {
	e := circuit.Event{
		Change: circuit.Change(p.GetChange()), Address: p.GetAddress(), Version: p.GetVersion(),
		Time: unstamp(p.GetTime()), Lost: int(p.GetLost()), Redelivered: p.GetRedelivered(),
	}
	if p.GetServer() != 0 {
		e.Path = circuit.ServerID(p.GetServer()).Path()
	}
	return e
}

// MemberToProto returns the wire's form of m.
func MemberToProto(m circuit.Member) *circuitv1.Member {
	return &circuitv1.Member{Server: uint64(m.ID), Address: m.Address, Joined: stamp(m.Joined), Version: m.Version}
}

// MemberFromProto is the inverse of MemberToProto.
func MemberFromProto(p *circuitv1.Member) circuit.Member {
	return circuit.Member{ID: circuit.ServerID(p.GetServer()), Address: p.GetAddress(), Joined: unstamp(p.GetJoined()), Version: p.GetVersion()}
}

// ServerStatToProto returns the wire's form of s.
func ServerStatToProto(s circuit.ServerStat) *circuitv1.ServerStat {
	p := &circuitv1.ServerStat{
		Server: uint64(s.ID), Address: s.Address, Pid: int64(s.PID), Version: s.Version, Started: stamp(s.Started),
		Servers: uint64(s.Servers), Anchors: uint64(s.Anchors), Procs: uint64(s.Procs), Chans: uint64(s.Chans),
		SpoolBytes: uint64(s.SpoolBytes), ChanBytes: uint64(s.ChanBytes), Joined: stamp(s.Joined), Subscriptions: uint64(s.Subscriptions),
	}
	for _, n := range s.Neighbours {
		p.Neighbours = append(p.Neighbours, uint64(n))
	}
	return p
}

// ServerStatFromProto is the inverse of ServerStatToProto.
func ServerStatFromProto(p *circuitv1.ServerStat) circuit.ServerStat {
	s := circuit.ServerStat{
		ID: circuit.ServerID(p.GetServer()), Address: p.GetAddress(), PID: int(p.GetPid()), Version: p.GetVersion(), Started: unstamp(p.GetStarted()),
		Servers: int(p.GetServers()), Anchors: int(p.GetAnchors()), Procs: int(p.GetProcs()), Chans: int(p.GetChans()),
		SpoolBytes: circuit.Size(p.GetSpoolBytes()), ChanBytes: circuit.Size(p.GetChanBytes()),
		Joined: unstamp(p.GetJoined()), Subscriptions: int(p.GetSubscriptions()),
		Neighbours: make([]circuit.ServerID, 0, len(p.GetNeighbours())),
	}
	for _, n := range p.GetNeighbours() {
		s.Neighbours = append(s.Neighbours, circuit.ServerID(n))
	}
	return s
}

// EntryToProto returns the wire's form of e.
func EntryToProto(e circuit.Entry) *circuitv1.Entry {
	return &circuitv1.Entry{Path: e.Path.String(), Kind: string(e.Kind), Generation: e.Generation, State: e.State}
}

// EntryFromProto is the inverse of EntryToProto. Errors are of kind Invalid.
func EntryFromProto(p *circuitv1.Entry) (circuit.Entry, error) {
	path, err := circuit.ParsePath(p.GetPath())
	if err != nil {
		return circuit.Entry{}, err
	}
	return circuit.Entry{Path: path, Kind: circuit.Kind(p.GetKind()), Generation: p.GetGeneration(), State: p.GetState()}, nil
}

// stamp leaves the zero time out of the message.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func unstamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
