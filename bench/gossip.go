package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// What the circuit's presence is compared with: HashiCorp's memberlist, and serf,
// which is built on it, each in processes of this program, with the settings that
// they have for a LAN, as their documentation shows them.

const (
	ofMemberlist = "memberlist"
	ofSerf       = "serf"

	leavePatience = 5 * time.Second
	joinAgain     = time.Second // after a seed that did not let it in
)

// gossiper is one server of memberlist or serf.
type gossiper interface {
	Join(seeds []string) (int, error)
	addr() string
	leave() error
}

// gossip is main of such a server. It prints where it listens, joins, and prints
// whom it sees come (+) and go (-), and when, until it is told to leave.
func gossip(role, name, seed string) int {
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGTERM)
	create := newMemberlist
	if role == ofSerf {
		create = newSerf
	}
	g, err := create(name)
	if err == nil {
		fmt.Println(g.addr())
		err = join(g, seed, leave)
	}
	if err == nil {
		<-leave
		err = g.leave()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		return 1
	}
	return 0
}

// join joins through a seed, if there is one, and tries until that lets it in.
func join(g gossiper, seed string, leave chan os.Signal) error {
	for seed != "" {
		_, err := g.Join([]string{seed})
		if err == nil {
			return nil
		}
		select {
		case <-time.After(joinAgain):
		case <-leave:
			return err
		}
	}
	return nil
}

// lan is memberlist's configuration for a LAN, on loopback.
func lan(name string) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = name, "127.0.0.1", 0, 0
	c.LogOutput = io.Discard
	return c
}

// said prints a change, unless it is the server itself that it is about.
func said(self, sign, name string) {
	if name == self {
		return
	}
	os.Stdout.WriteString(sign + name + " " + strconv.FormatInt(time.Now().UnixNano(), 10) + "\n")
}

// heard reads what said printed.
func heard(line string) (name string, present bool, at time.Time, err error) {
	if change, stamp, ok := strings.Cut(line, " "); ok && len(change) > 1 {
		nanos, err := strconv.ParseInt(stamp, 10, 64)
		if sign := change[0]; err == nil && (sign == '+' || sign == '-') {
			return change[1:], sign == '+', time.Unix(0, nanos), nil
		}
	}
	return "", false, time.Time{}, fmt.Errorf("unexpected: %q", line)
}

type memberlistServer struct{ *memberlist.Memberlist }

func newMemberlist(name string) (gossiper, error) {
	c := lan(name)
	c.Events = sayer(name)
	m, err := memberlist.Create(c)
	return memberlistServer{m}, err
}

func (m memberlistServer) addr() string { return m.LocalNode().Address() }

func (m memberlistServer) leave() error {
	if err := m.Leave(leavePatience); err != nil {
		return err
	}
	return m.Shutdown()
}

// sayer says what memberlist tells the server of this name.
type sayer string

func (s sayer) NotifyJoin(n *memberlist.Node)  { said(string(s), "+", n.Name) }
func (s sayer) NotifyLeave(n *memberlist.Node) { said(string(s), "-", n.Name) }
func (sayer) NotifyUpdate(*memberlist.Node)    {}

type serfServer struct{ *serf.Serf }

func newSerf(name string) (gossiper, error) {
	events := make(chan serf.Event, 1024)
	c := serf.DefaultConfig()
	c.NodeName, c.MemberlistConfig, c.EventCh, c.LogOutput = name, lan(name), events, io.Discard
	s, err := serf.Create(c)
	if err != nil {
		return nil, err
	}
	go func() { // as long as the process
		for e := range events {
			m, ok := e.(serf.MemberEvent)
			if !ok {
				continue
			}
			for _, who := range m.Members {
				switch m.Type {
				case serf.EventMemberJoin:
					said(name, "+", who.Name)
				case serf.EventMemberLeave, serf.EventMemberFailed, serf.EventMemberReap:
					said(name, "-", who.Name)
				}
			}
		}
	}()
	return serfServer{s}, nil
}

func (s serfServer) Join(seeds []string) (int, error) { return s.Serf.Join(seeds, true) }

func (s serfServer) addr() string {
	m := s.LocalMember()
	return net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port)))
}

func (s serfServer) leave() error {
	if err := s.Leave(); err != nil {
		return err
	}
	return s.Shutdown()
}
