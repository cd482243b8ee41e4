package membership

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// rig is a machine, its clock, and short words for what it says.
type rig struct {
	*Machine
	t      *testing.T
	at     time.Time
	number map[circuit.ServerID]uint64 // of the last event that a server is said to have originated
}

// lastTurn is when the last observer acts on what all think.
const lastTurn = 2 * directory.Rings * turnEvery

const me = circuit.ServerID(50)

const (
	alive   = directory.Alive
	suspect = directory.Suspect
	dead    = directory.Dead
	left    = directory.Left
)

// rec is a record of a server, alive, in its first life.
func rec(id circuit.ServerID) entry {
	return entry{Record: directory.Record{ID: id, Address: fmt.Sprintf("host%d:1", id), Instance: uint64(id), Incarnation: 1, State: alive}}
}

// with returns a changed copy of a record.
func with(e entry, incarnation uint64, s directory.State) entry {
	e.Incarnation, e.State = incarnation, s
	return e
}

func newRig(t *testing.T) *rig {
	at := time.Unix(1000, 0)
	m := New(at, Config{Self: rec(me).Record, Rand: rand.New(rand.NewPCG(1, 2))})
	return &rig{Machine: m, t: t, at: at, number: make(map[circuit.ServerID]uint64)}
}

// circle is a rig in a circuit with others, to all of which it has links
// numbered by their IDs, and of all of which it has just heard that they live,
// and that datagrams get through.
func circle(t *testing.T, ids ...circuit.ServerID) *rig {
	r := newRig(t)
	for _, id := range ids {
		r.link(id)
		r.number[id] = 1 << epochBits
		r.says(id, rec(id))
		r.receive(id, message{kind: kindDatagrams, on: true})
		r.pulse(id, time.Minute)
	}
	return r
}

// link brings up a link to a server that knows nobody.
func (r *rig) link(id circuit.ServerID) []Output {
	r.t.Helper()
	outs := r.Step(r.at, LinkUp{Link: uint64(id), ID: id, Instance: uint64(id)})
	return append(outs, r.receive(id, message{kind: kindRoot})...)
}

// receive receives a message on the link to a server.
func (r *rig) receive(from circuit.ServerID, msg message) []Output {
	r.t.Helper()
	return r.Step(r.at, Receive{Link: uint64(from), Data: msg.encode()})
}

// says receives the next event of a server, from itself.
func (r *rig) says(origin circuit.ServerID, e entry) []Output {
	r.t.Helper()
	return r.hears(origin, origin, e, false)
}

// hears receives the next event of a server over the link to another.
func (r *rig) hears(from, origin circuit.ServerID, e entry, gone bool) []Output {
	r.t.Helper()
	r.number[origin]++
	e.gone = gone
	return r.receive(from, message{kind: kindEvent, event: &event{origin: origin, number: r.number[origin], record: &e}})
}

// tell receives a batch of records that is news to a neighbour.
func (r *rig) tell(from circuit.ServerID, list ...entry) []Output {
	r.t.Helper()
	return r.receive(from, message{kind: kindNews, records: list})
}

// pulse receives, as a datagram, a pulse of a server that knows what this one
// does.
func (r *rig) pulse(from circuit.ServerID, next time.Duration) []Output {
	r.t.Helper()
	return r.datagram(from, sigPulse, next)
}

func (r *rig) datagram(from circuit.ServerID, kind uint8, next time.Duration) []Output {
	r.t.Helper()
	s := signal{kind: kind, next: next, digest: r.dir.Digest()}
	return r.Step(r.at, ReceiveDatagram{Link: uint64(from), Data: s.encode()})
}

// wait lets time pass, with Ticks when they are due.
func (r *rig) wait(d time.Duration) []Output {
	r.t.Helper()
	var said []Output
	end := r.at.Add(d)
	for n := 0; !r.Deadline().IsZero() && !r.Deadline().After(end); n++ {
		if n > 100000 {
			r.t.Fatal("the deadline does not move on")
		}
		r.at = latest(r.at, r.Deadline())
		said = append(said, r.Step(r.at, Tick{})...)
	}
	r.at = end
	return said
}

// members returns how many are in the circuit.
func (r *rig) members() int { return r.Directory().Len() }

func (r *rig) want(outs []Output, want string) {
	r.t.Helper()
	if got := brief(outs); got != want {
		r.t.Errorf("got  %q\nwant %q", got, want)
	}
}

// brief writes outputs as tests compare them; several messages alike to several
// links are one, and pulses are left out. What is sent as a datagram has a ~.
func brief(outs []Output) string {
	var parts []string
	links := make(map[string][]uint64)
	send := func(link uint64, text string) bool {
		if text == "" {
			return false
		}
		links[text] = append(links[text], link)
		return len(links[text]) == 1
	}
	for _, out := range outs {
		text := ""
		switch out := out.(type) {
		case Send:
			msg, err := decode(out.Data)
			if err != nil {
				panic(err)
			}
			if text = briefMessage(msg); !send(out.Link, text) {
				continue
			}
		case SendDatagram:
			s, err := decodeSignal(out.Data)
			if err != nil {
				panic(err)
			}
			if text = briefSignal(s, "~"); !send(out.Link, text) {
				continue
			}
		case Joined:
			text = fmt.Sprintf("Joined %d@%d", out.Record.ID, out.Record.Incarnation)
		case Left:
			text = fmt.Sprintf("Left %d@%d %s", out.Record.ID, out.Record.Incarnation, stateName(out.Record.State))
		case Deliver:
			text = fmt.Sprintf("Deliver %d %q", out.Origin, out.Data)
		case Redial:
			text = fmt.Sprintf("Redial %d", out.ID)
		case Reset:
			text = fmt.Sprintf("Reset %d", out.Link)
		case Persist:
			text = fmt.Sprintf("Persist %d", out.Incarnation)
		case Taken:
			text = "Taken " + out.Address
		case Departed:
			text = "Departed"
		}
		parts = append(parts, text)
	}
	for i, p := range parts {
		if to := links[p]; to != nil {
			parts[i] = strings.Trim(fmt.Sprint(to), "[]") + ":" + p
		}
	}
	return strings.Join(parts, ", ")
}

func stateName(s directory.State) string {
	return [...]string{"?", "alive", "suspect", "dead", "left"}[s]
}

func briefEntry(e *entry) string {
	return fmt.Sprintf("%d@%d %s", e.ID, e.Incarnation, stateName(e.State))
}

func briefEvent(e *event) string {
	switch {
	case e.data != nil:
		return fmt.Sprintf("%q", e.data)
	case e.record == nil:
		return "?"
	case e.record.gone:
		return briefEntry(e.record) + ", gone"
	}
	return briefEntry(e.record)
}

func briefSignal(s signal, mark string) string {
	if s.kind == sigPulse {
		return ""
	}
	return mark + [...]string{sigProbe: "probe", sigAck: "ack"}[s.kind]
}

func briefMessage(msg message) string {
	var list []string
	for _, p := range msg.prefixes {
		list = append(list, fmt.Sprintf("%016x", p.Bits)[:p.Depth]+"*")
	}
	for i := range msg.records {
		list = append(list, briefEntry(&msg.records[i]))
	}
	for i := range msg.events {
		list = append(list, briefEvent(&msg.events[i]))
	}
	said := "(" + strings.Join(list, " ") + ")"
	if msg.more {
		said += "more"
	}
	switch msg.kind {
	case kindRoot:
		return fmt.Sprintf("root(%d)", msg.count)
	case kindAsk:
		if msg.past {
			return "ask(past)"
		} else if msg.whole {
			return "ask" + said + "whole"
		}
		return "ask" + said
	case kindChildren:
		return "children" + said
	case kindRecords:
		return "records" + said
	case kindPast:
		return "past" + said
	case kindSynced:
		return "synced"
	case kindResync:
		return "resync"
	case kindNews:
		return "news" + said
	case kindEvent:
		return "event(" + briefEvent(msg.event) + ")"
	case kindSignal:
		return briefSignal(msg.signal, "")
	case kindDatagrams:
		return fmt.Sprintf("datagrams(%v)", msg.on)
	}
	return "?"
}

type prefix = directory.Prefix
