package overlay

import (
	"testing"
	"time"

	"github.com/gocircuit/circuit"
)

// TestRememberedAreTriedAtOnce: a server that is back after a restart finds its
// circuit within moments, even if some that it remembers are gone.
func TestRememberedAreTriedAtOnce(t *testing.T) {
	var lost []Peer
	for i := range 200 {
		lost = append(lost, peerN(circuit.ServerID(100+i), 0))
	}
	r := newRig(t, lost...)
	r.wait(0)
	if len(r.dials) != rushFirst {
		t.Errorf("%d dials at once", len(r.dials))
	}
	r.wait(time.Second)
	if len(r.dials) != maxLostDials {
		t.Errorf("%d dials in a second", len(r.dials))
	}
	for range 3 { // nobody listens yet
		for dial := range r.dials {
			r.step(ConnectFailed{Dial: dial, Failure: Refused})
		}
		r.wait(time.Second)
		if n := len(r.dials); n < 1 || n > 9 {
			t.Errorf("%d dials in a second later on", n)
		}
	}
	// With a link it waits for what comes of that.
	r.incoming(peerN(99, 1), 1)
	dials := r.lastDial
	r.wait(3 * time.Second)
	if n := r.lastDial - dials; n > 6 {
		t.Errorf("%d dials in 3 s, with a link", n)
	}
}

// TestLostPaceFollowsTheView: after a partition a server tries the others as
// often as suits its own part, not the circuit that was.
func TestLostPaceFollowsTheView(t *testing.T) {
	r := ringRig(t, 1000)
	r.wait(0)
	r.answer()
	for _, p := range r.after(0)[5:] {
		r.dismiss(p, true)
	}
	dials := r.lastDial
	r.wait(time.Minute)
	if n := r.lastDial - dials; n < 6 || n > 20 {
		t.Errorf("%d dials in a minute, by one of 6", n)
	}
}

func TestLostAreTried(t *testing.T) {
	var lost []Peer
	for i := range 20 {
		lost = append(lost, peerN(circuit.ServerID(100+i), 0))
	}
	r := newRig(t, lost...)
	tried := make(map[string]bool)
	for end := r.at.Add(10 * time.Minute); r.at.Before(end); r.at = latest(r.at.Add(time.Millisecond), r.Deadline()) {
		r.step(Tick{})
		for dial, d := range r.dials {
			tried[d.address] = true
			r.step(ConnectFailed{Dial: dial, Failure: Unreachable})
		}
	}
	if len(tried) != len(lost) {
		t.Errorf("%d of %d were tried", len(tried), len(lost))
	}
	if rate := float64(r.lastDial) / 600; rate < 0.9 || rate > 1.2 {
		t.Errorf("%.2f dials a second", rate)
	}
	// One that belongs to another server now is forgotten, and all after a day.
	for len(r.dials) == 0 {
		r.at = latest(r.at, r.Deadline())
		r.step(Tick{})
	}
	r.step(ConnectFailed{Dial: r.lastDial, Failure: WrongServer})
	if len(r.lost.peers) != len(lost)-1 {
		t.Errorf("%d are remembered", len(r.lost.peers))
	}
	r.at = r.at.Add(KeepFailed)
	r.step(Tick{})
	if len(r.lost.peers) != 0 || !r.Deadline().IsZero() {
		t.Errorf("%d are remembered after a day", len(r.lost.peers))
	}
	for i := range MaxRemembered + 10 {
		p := peerN(circuit.ServerID(1000+i), 1)
		r.admit(p)
		r.dismiss(p, true)
	}
	if len(r.lost.peers) != MaxRemembered {
		t.Errorf("%d are remembered", len(r.lost.peers))
	}
}
