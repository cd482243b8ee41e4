package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocircuit/circuit/client"
)

// lab is a world of hosts: each server has a network namespace of its own, with
// an address on one of two bridges, left and right, which a cable connects. All
// of it is named after this process, so that what a killed run left is removed
// by the next one.
type lab struct {
	*world
	t       *testing.T
	key     string
	hub     string // the namespace of the bridges
	servers []*server
	hosts   map[*server]int
}

const labName = "circuit-test-" // then the process ID, then the host

// newLab makes a circuit of n servers, the first half of them on the left.
func newLab(t *testing.T, n int) *lab {
	t.Helper()
	if os.Getenv("CIRCUIT_NETNS") != "1" {
		t.Skip("CIRCUIT_NETNS=1 runs it, as root: it makes network namespaces")
	}
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	for _, tool := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("network namespaces need %s", tool)
		}
	}
	removeNamespaces(t, func(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	t.Cleanup(func() { removeNamespaces(t, func(pid int) bool { return pid == os.Getpid() }) })
	l := &lab{world: newWorld(t), t: t, hub: fmt.Sprint(labName, os.Getpid(), "-hub"), hosts: make(map[*server]int)}
	l.must(t, "", "keygen", "key")
	l.key = l.file("key")
	l.tool("ip", "netns", "add", l.hub)
	l.tool("ip", "-n", l.hub, "link", "add", "cable", "type", "veth", "peer", "name", "cableend")
	for bridge, end := range map[string]string{"left": "cable", "right": "cableend"} {
		l.tool("ip", "-n", l.hub, "link", "add", bridge, "type", "bridge")
		l.tool("ip", "-n", l.hub, "link", "set", bridge, "up")
		l.tool("ip", "-n", l.hub, "link", "set", end, "master", bridge, "up")
	}
	for i := range n {
		l.addHost(i, map[bool]string{true: "left", false: "right"}[i < n/2])
	}
	for i := range n {
		s, err := l.launchBy(fmt.Sprint("s", i), "ip", "netns", "exec", l.ns(i), program(),
			"start", "-a", addrOf(i)+":11022", "--key", l.key, "-j", addrOf(0)+":11022")
		if err == nil {
			err = l.ready(s)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.servers, l.hosts[s] = append(l.servers, s), i
	}
	l.awaitViews(10*time.Second, l.servers)
	return l
}

// removeNamespaces removes the namespaces of the processes that are chosen, and
// so all that is in them.
func removeNamespaces(t *testing.T, of func(pid int) bool) {
	list, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(list)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, labName)
		pid, err := strconv.Atoi(strings.Split(rest, "-")[0])
		if !ours || err != nil || !of(pid) {
			continue
		}
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("removing namespace %s: %v: %s", name, err, out)
		}
	}
}

func addrOf(host int) string       { return fmt.Sprint("10.213.0.", host+1) }
func (l *lab) ns(host int) string  { return fmt.Sprint(labName, os.Getpid(), "-", host) }
func (l *lab) of(s *server) string { return l.ns(l.hosts[s]) }
func (l *lab) left() []*server     { return l.servers[:len(l.servers)/2] }
func (l *lab) right() []*server    { return l.servers[len(l.servers)/2:] }
func (l *lab) cable(updown string) { l.tool("ip", "-n", l.hub, "link", "set", "cable", updown) }
func pathsOf(s []*server) []string { return sortedPaths(s, func(s *server) string { return s.path }) }
func sortedPaths[T any](list []T, path func(T) string) (paths []string) {
	for _, e := range list {
		paths = append(paths, path(e))
	}
	slices.Sort(paths)
	return paths
}

// tool runs a command that must succeed.
func (l *lab) tool(name string, args ...string) {
	l.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (l *lab) addHost(i int, bridge string) {
	l.t.Helper()
	l.tool("ip", "netns", "add", l.ns(i))
	port := fmt.Sprint("port", i)
	l.tool("ip", "-n", l.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", l.ns(i))
	l.tool("ip", "-n", l.hub, "link", "set", port, "master", bridge, "up")
	l.tool("ip", "-n", l.ns(i), "addr", "add", addrOf(i)+"/24", "dev", "eth0")
	l.tool("ip", "-n", l.ns(i), "link", "set", "eth0", "up")
	l.tool("ip", "-n", l.ns(i), "link", "set", "lo", "up")
}

// filter changes what a server's host drops of what comes in.
func (l *lab) filter(s *server, what string, match ...string) {
	l.t.Helper()
	args := append([]string{"netns", "exec", l.of(s), "iptables", "-w", what, "INPUT"}, match...)
	l.tool("ip", append(args, "-j", "DROP")...)
}

// on runs the program on a server's host, dialled in at that server.
func (l *lab) on(s *server, stdin string, args ...string) result {
	args = append([]string{"netns", "exec", l.of(s), program(), "--key", l.key, "-d", s.addr}, args...)
	c, err := l.backgroundBy(strings.NewReader(stdin), nil, "ip", args...)
	if err != nil {
		return result{stderr: err.Error(), code: -1}
	}
	return c.wait()
}

func (l *lab) mustOn(s *server, stdin string, args ...string) string {
	l.t.Helper()
	r := l.on(s, stdin, args...)
	if r.code != 0 {
		l.t.Fatalf("circuit %s at %s: exit code %d\n%s", strings.Join(args, " "), s.name, r.code, r.stderr)
	}
	return r.stdout
}

// sees reports whether a server lists exactly the given ones.
func (l *lab) sees(s *server, want []*server) bool {
	r := l.on(s, "", "ls", "/")
	got := strings.Fields(strings.ReplaceAll(r.stdout, "---- ", ""))
	slices.Sort(got)
	return r.code == 0 && slices.Equal(got, pathsOf(want))
}

// awaitViews waits until each of the servers lists exactly all of them.
func (l *lab) awaitViews(limit time.Duration, servers []*server) time.Duration {
	l.t.Helper()
	began := time.Now()
	for _, s := range servers {
		l.await(l.t, limit-time.Since(began), fmt.Sprintf("%s sees %d servers", s.name, len(servers)), func() bool { return l.sees(s, servers) })
	}
	return time.Since(began)
}

// holds wants something to be true for so long.
func (l *lab) holds(d time.Duration, what string, ok func() bool) {
	l.t.Helper()
	if after, broken := pollFor(d, func() bool { return !ok() }); broken {
		l.t.Fatalf("after %v it is no longer true that %s", after, what)
	}
}

// neighbours returns the servers that a server has links with.
func (l *lab) neighbours(s *server) (list []*server) {
	l.t.Helper()
	var stat struct{ Neighbours []string }
	if err := json.Unmarshal([]byte(l.mustOn(s, "", "peek", s.path)), &stat); err != nil {
		l.t.Fatal(err)
	}
	for _, path := range stat.Neighbours {
		i := slices.IndexFunc(l.servers, func(s *server) bool { return s.path == path })
		list = append(list, l.servers[i])
	}
	return list
}

// subscribe makes subscriptions to joins and departures at each server.
func (l *lab) subscribe() {
	l.t.Helper()
	for _, s := range l.servers {
		l.mustOn(s, "", "mk@join", s.path+"/came")
		l.mustOn(s, "", "mk@leave", s.path+"/gone")
	}
}

// told returns what one of a server's subscriptions has told so far, sorted, but
// for those who were present.
func (l *lab) told(s *server, name string) (changes []string) {
	l.t.Helper()
	var stat client.SubscriptionStat
	if err := json.Unmarshal([]byte(l.mustOn(s, "", "peek", s.path+"/"+name)), &stat); err != nil {
		l.t.Fatal(err)
	}
	if stat.Pending == 0 {
		return nil
	}
	lines := l.mustOn(s, "", "recv", "-o", "json", "--timeout", "20s", "-n", fmt.Sprint(stat.Pending), s.path+"/"+name)
	for _, e := range decodeEvents(l.t, lines) {
		if e.Change != client.Present {
			changes = append(changes, string(e.Change)+" "+e.Path.String())
		}
	}
	slices.Sort(changes)
	return changes
}

// wantTold wants a server's subscriptions to have told of each of the given ones
// that it failed, and if they are back that it joined, and of nothing else.
func (l *lab) wantTold(s *server, failed []*server, back bool) {
	l.t.Helper()
	gone := sortedPaths(failed, func(s *server) string { return "failed " + s.path })
	came := sortedPaths(failed, func(s *server) string { return "joined " + s.path })
	if !back {
		came = nil
	}
	if got := l.told(s, "gone"); !slices.Equal(got, gone) {
		l.t.Errorf("%s was told\n%q, want\n%q", s.name, got, gone)
	}
	if got := l.told(s, "came"); !slices.Equal(got, came) {
		l.t.Errorf("%s was told\n%q, want\n%q", s.name, got, came)
	}
}

// TestNamespacesPartition cuts the cable for a minute. Both halves go on by
// themselves, and are one circuit again soon after.
func TestNamespacesPartition(t *testing.T) {
	l := newLab(t, 12)
	l.subscribe()
	const cut = 60 * time.Second
	l.cable("down")
	began := time.Now()
	for _, half := range [][]*server{l.left(), l.right()} {
		l.awaitViews(15*time.Second, half)
	}
	t.Logf("two circuits after %v", time.Since(began).Round(time.Millisecond))
	for _, half := range [][]*server{l.left(), l.right()} {
		job := half[1].path + "/job"
		l.mustOn(half[0], `{"Path": "true"}`, "mkproc", job)
		l.mustOn(half[0], "", "wait", job)
	}
	i := 0
	l.holds(cut-time.Since(began), "each half sees itself only", func() bool {
		i = (i + 1) % (len(l.servers) / 2)
		return l.sees(l.left()[i], l.left()) && l.sees(l.right()[i], l.right())
	})
	l.cable("up")
	t.Logf("one circuit again after %v", l.awaitViews(10*time.Second, l.servers).Round(time.Millisecond))
	l.holds(5*time.Second, "all see all", func() bool { i = (i + 1) % len(l.servers); return l.sees(l.servers[i], l.servers) })
	for _, s := range l.left() {
		l.wantTold(s, l.right(), true)
	}
	for _, s := range l.right() {
		l.wantTold(s, l.left(), true)
	}
}

// TestNamespacesOneWay drops what one server sends to one neighbour, and what
// another neighbour sends to it. Nobody is dead.
func TestNamespacesOneWay(t *testing.T) {
	l := newLab(t, 12)
	l.subscribe()
	s := l.servers[3]
	near := l.neighbours(s)
	l.filter(near[0], "-A", "-s", addrOf(l.hosts[s]))
	l.filter(s, "-A", "-s", addrOf(l.hosts[near[1]]))
	l.holds(60*time.Second, "all see all", func() bool { return l.sees(l.servers[0], l.servers) && l.sees(s, l.servers) })
	l.filter(near[0], "-D", "-s", addrOf(l.hosts[s]))
	l.filter(s, "-D", "-s", addrOf(l.hosts[near[1]]))
	for _, s := range l.servers {
		l.wantTold(s, nil, false)
	}
}

// TestNamespacesLoss drops a quarter of all packets. Nobody is dead, and who is
// killed is.
func TestNamespacesLoss(t *testing.T) {
	l := newLab(t, 12)
	l.subscribe()
	loss := []string{"-i", "eth0", "-m", "statistic", "--mode", "random", "--probability", "0.25"}
	for _, s := range l.servers {
		l.filter(s, "-A", loss...)
	}
	l.holds(time.Duration(size(1, 5))*time.Minute, "all see all", func() bool { return l.sees(l.servers[0], l.servers) })
	victim, rest := l.servers[11], l.servers[:11]
	victim.kill()
	t.Logf("killed, and gone for all after %v", l.awaitViews(30*time.Second, rest).Round(time.Millisecond))
	for _, s := range l.servers {
		l.filter(s, "-D", loss...)
	}
	for _, s := range rest {
		l.wantTold(s, []*server{victim}, false)
	}
}

// TestNamespacesKill kills a server, whose host then answers that nobody
// listens, and freezes another one, which is back when it goes on.
func TestNamespacesKill(t *testing.T) {
	l := newLab(t, 12)
	l.subscribe()
	victim, rest := l.servers[11], l.servers[:11]
	victim.kill()
	t.Logf("killed, and gone for all after %v", l.awaitViews(5*time.Second, rest).Round(time.Millisecond))
	for _, s := range rest {
		l.wantTold(s, []*server{victim}, false)
	}
	frozen, rest := rest[10], rest[:10]
	if err := frozen.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Logf("frozen, and gone for all after %v", l.awaitViews(10*time.Second, rest).Round(time.Millisecond))
	if err := frozen.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	t.Logf("back for all after %v", l.awaitViews(10*time.Second, append(rest[:10:10], frozen)).Round(time.Millisecond))
	for _, s := range rest {
		l.wantTold(s, []*server{frozen}, true)
	}
}
