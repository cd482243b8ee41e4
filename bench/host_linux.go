package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// alone lets a process run in namespaces of its own: of users, so that nobody
// needs to be root; of the network, in which nothing else sends; of processes,
// of which it is the first, so that all that it started end with it.
func alone() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Setpgid:     true, // the terminal's interrupt is for the one who started it
		Pdeathsig:   syscall.SIGKILL,
	}
}

// settleIn makes the new namespaces habitable: a /proc of the processes in them,
// and a loopback that is up.
func settleIn() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bringing the loopback up: %w", err)
	}
	return nil
}

// meter reads the counters of the kernel.
type meter struct {
	link float64 // bytes of a link's header that the loopback counts for each packet
}

// reading is what the counters said.
type reading struct {
	at      time.Time
	bytes   float64 // of IP packets, headers included; sent and received
	packets float64 // the same
}

// probeBytes is the size of the datagram that a meter is proved with.
const probeBytes = 100

// newMeter finds out what the loopback counts: kernels differ in whether it is
// the link's header, too.
func newMeter() (*meter, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var m meter
	before, err := m.read()
	if err != nil {
		return nil, err
	}
	if _, err := conn.WriteTo(make([]byte, probeBytes), conn.LocalAddr()); err != nil {
		return nil, err
	}
	if _, err := conn.Read(make([]byte, probeBytes)); err != nil {
		return nil, err
	}
	after, err := m.read()
	if err != nil {
		return nil, err
	}
	const ip, udp = 20, 8
	m.link = (after.bytes-before.bytes)/2 - probeBytes - ip - udp
	if after.packets-before.packets != 2 || m.link != 0 && m.link != 14 {
		return nil, fmt.Errorf("a datagram of %d bytes counted as %v packets and %v bytes", probeBytes, after.packets-before.packets, after.bytes-before.bytes)
	}
	return &m, nil
}

// read reads how much went over the loopback so far.
func (m *meter) read() (reading, error) {
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return reading{}, err
	}
	at := time.Now()
	_, after, _ := strings.Cut(string(text), "lo:")
	f := strings.Fields(after)
	if len(f) < 16 {
		return reading{}, fmt.Errorf("no loopback in %q", text)
	}
	var n [10]float64
	for i := range n {
		if n[i], err = strconv.ParseFloat(f[i], 64); err != nil {
			return reading{}, err
		}
	}
	packets := n[1] + n[9]
	return reading{at: at, bytes: n[0] + n[8] - m.link*packets, packets: packets}, nil
}

// effort is what processes did so far.
type effort struct {
	switches float64       // from one thread to another, wanted or not
	cpu      time.Duration // on a processor
}

// efforts adds up what processes did.
func efforts(all []*member) (sum effort, err error) {
	for _, m := range all {
		tasks := fmt.Sprintf("/proc/%d/task/", m.cmd.Process.Pid)
		status, err := filepath.Glob(tasks + "*/status")
		if err != nil || len(status) == 0 {
			return sum, fmt.Errorf("%s has no threads: %w", tasks, err)
		}
		for _, file := range status {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread ended
			}
			sum.switches += count(text, "voluntary_ctxt_switches:") + count(text, "nonvoluntary_ctxt_switches:")
			times, err := os.ReadFile(strings.TrimSuffix(file, "status") + "schedstat")
			if err != nil {
				continue
			}
			ns, _, _ := bytes.Cut(times, []byte(" "))
			n, err := strconv.ParseInt(string(ns), 10, 64)
			if err != nil {
				return sum, err
			}
			sum.cpu += time.Duration(n)
		}
	}
	return sum, nil
}

// count returns the number in the line of a text that begins with a name.
func count(text []byte, name string) float64 {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(string(value)), 64)
			return n
		}
	}
	return 0
}
