package membership

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
)

// rig is a machine, its clock, and short words for what it says.
type rig struct {
	*Machine
	t  *testing.T
	at time.Time
}

const me = circuit.ServerID(50)

// rec is a record of a server, alive, in its first life.
func rec(id circuit.ServerID) entry {
	return entry{Record: Record{ID: id, Address: fmt.Sprintf("host%d:1", id), Instance: uint64(id), Incarnation: 1, State: StateAlive}}
}

// with returns a changed copy of a record.
func with(e entry, incarnation uint64, s State) entry {
	e.Incarnation, e.State = incarnation, s
	return e
}

func newRig(t *testing.T) *rig {
	at := time.Unix(1000, 0)
	m := New(at, Config{Self: rec(me).Record, Rand: rand.New(rand.NewPCG(1, 2))})
	return &rig{Machine: m, t: t, at: at}
}

// circle is a rig in a circuit with others, to all of which it has links
// numbered by their IDs, and of all of which it has just heard.
func circle(t *testing.T, ids ...circuit.ServerID) *rig {
	r := newRig(t)
	for _, id := range ids {
		r.Step(r.at, LinkUp{Link: uint64(id), ID: id, Instance: uint64(id)})
		r.receive(id, message{kind: kindDirectory, records: []entry{rec(id)}})
	}
	return r
}

// receive receives a message on the link to a server.
func (r *rig) receive(from circuit.ServerID, msg message) []Output {
	r.t.Helper()
	return r.Step(r.at, Receive{Link: uint64(from), Data: msg.encode()})
}

// tell receives a directory of some records.
func (r *rig) tell(from circuit.ServerID, list ...entry) []Output {
	r.t.Helper()
	return r.receive(from, message{kind: kindDirectory, records: list})
}

// pulse receives a pulse of a server that knows what this one does.
func (r *rig) pulse(from circuit.ServerID, next time.Duration) []Output {
	r.t.Helper()
	return r.receive(from, message{kind: kindPulse, next: uint64(next / time.Millisecond), digest: r.digest})
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

func (r *rig) want(outs []Output, want string) {
	r.t.Helper()
	if got := brief(outs); got != want {
		r.t.Errorf("got  %q\nwant %q", got, want)
	}
}

// brief writes outputs as tests compare them; several messages alike to several
// links are one, and pulses are left out.
func brief(outs []Output) string {
	var parts []string
	links := make(map[string][]uint64)
	for _, out := range outs {
		text := ""
		switch out := out.(type) {
		case Send:
			msg, err := decode(out.Data)
			if err != nil {
				panic(err)
			}
			if text = briefMessage(msg); text == "" {
				continue
			}
			if links[text] = append(links[text], out.Link); len(links[text]) > 1 {
				continue
			}
		case Joined:
			text = fmt.Sprintf("Joined %d@%d", out.Record.ID, out.Record.Incarnation)
		case Left:
			text = fmt.Sprintf("Left %d@%d %s", out.Record.ID, out.Record.Incarnation, stateName(out.Record.State))
		case Redial:
			text = fmt.Sprintf("Redial %d", out.ID)
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

func stateName(s State) string {
	return [...]string{"?", "alive", "suspect", "dead", "left"}[s]
}

func briefEntry(e *entry) string {
	if e == nil {
		return "?"
	}
	return fmt.Sprintf("%d@%d %s", e.ID, e.Incarnation, stateName(e.State))
}

func briefMessage(msg message) string {
	switch msg.kind {
	case kindDirectory:
		var list []string
		for i := range msg.records {
			list = append(list, briefEntry(&msg.records[i]))
		}
		text := "dir(" + strings.Join(list, " ") + ")"
		if msg.more {
			text += "more"
		}
		if msg.reply {
			text += "reply"
		}
		return text
	case kindEvent:
		return fmt.Sprintf("event(%s)", briefEntry(msg.record))
	case kindProbe:
		return "probe"
	case kindAck:
		return "ack"
	case kindVote:
		return fmt.Sprintf("vote(%d@%d %s)", msg.subject, msg.incarnation, [...]string{"none", "silent", "gone"}[msg.verdict])
	case kindAlarm:
		return fmt.Sprintf("alarm(%d)", msg.subject)
	}
	return ""
}
