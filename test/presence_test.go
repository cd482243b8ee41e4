package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gocircuit/circuit/client"
)

// events receives n events as JSON by way of a server.
func (w *world) events(t *testing.T, s *server, path string, n int) []client.Event {
	t.Helper()
	return decodeEvents(t, w.must(t, "", "recv", "-o", "json", "--timeout", "20s", "-n", fmt.Sprint(n), "-d", s.url, path))
}

func decodeEvents(t *testing.T, lines string) (events []client.Event) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(lines)); d.More(); {
		var e client.Event
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v in %q", err, lines)
		}
		events = append(events, e)
	}
	return events
}

// subscription is the state of a subscription as peek prints it.
func subscription(t *testing.T, w *world, s *server, path string) (stat client.SubscriptionStat) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.must(t, "", "peek", "-d", s.url, path)), &stat); err != nil {
		t.Fatal(err)
	}
	return stat
}

// TestKillIsTold kills servers, one after the other, and wants a receiver that
// waits, by way of a third server, to print the path of each, and each
// subscription to tell of each once.
func TestKillIsTold(t *testing.T) {
	w := newWorld(t)
	n, kills := size(6, 16), size(3, 20)
	servers := w.circuit(t, n)
	host, via := servers[0], servers[1]
	watched, silent, elsewhere := host.path+"/watched", host.path+"/silent", via.path+"/elsewhere"
	for _, path := range []string{watched, silent, elsewhere} {
		w.must(t, "", "mk@leave", "-d", host.url, path)
	}
	var killed []string
	var took []time.Duration
	for i := range kills {
		victim := servers[i%(n-2)+2]
		if i >= n-2 {
			victim = w.start(t, fmt.Sprintf("again%d", i), "-j", host.url)
			w.await(t, 10*time.Second, "another server is there", func() bool { return slices.Contains(w.list(host), victim.path) })
		}
		waiting := w.begin(t, nil, "recv", "-d", via.url, watched)
		w.await(t, 5*time.Second, "recv waits", func() bool { return subscription(t, w, host, watched).Receivers == 1 })
		began := time.Now()
		if err := victim.signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r := waiting.wait()
		took = append(took, time.Since(began))
		if r.code != 0 || r.stdout != victim.path+"\n" {
			t.Fatalf("recv: exit code %d, printed %q, want %s\n%s", r.code, r.stdout, victim.path, r.stderr)
		}
		killed = append(killed, victim.path)
	}
	slices.Sort(took)
	t.Logf("kill to the end of recv: median %v, longest %v", took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	for path, s := range map[string]*server{silent: via, elsewhere: host} {
		var told []string
		for _, e := range w.events(t, s, path, kills) {
			if e.Change != client.Failed || e.Redelivered || e.Address == "" || e.Time.IsZero() {
				t.Errorf("%s: %+v", path, e)
			}
			told = append(told, e.Path.String())
		}
		if !slices.Equal(told, killed) {
			t.Errorf("%s tells of\n%v, killed were\n%v", path, told, killed)
		}
	}
	for _, path := range []string{watched, silent, elsewhere} {
		if stat := subscription(t, w, host, path); stat.Pending != 0 || stat.NumEvents != kills || stat.NumRecv != kills || stat.Overflow != 0 {
			t.Errorf("%s afterwards: %+v", path, stat)
		}
	}
}

// TestComeAndGo stops and starts a server, in every way, and wants the two
// streams to tell the story.
func TestComeAndGo(t *testing.T) {
	w := newWorld(t)
	host := w.start(t, "host")
	via := w.start(t, "via", "-j", host.url)
	w.await(t, 10*time.Second, "two servers", func() bool { return len(w.list(host)) == 2 })
	came, gone := host.path+"/came", host.path+"/gone"
	w.must(t, "", "mk@join", "-d", via.url, came)
	w.must(t, "", "mk@leave", "-d", via.url, gone)
	tell := func(path string, n int) (story []string) {
		for _, e := range w.events(t, via, path, n) {
			story = append(story, string(e.Change)+" "+e.Path.String())
		}
		return story
	}
	want := func(story []string, want ...string) {
		t.Helper()
		if !slices.Equal(story, want) {
			t.Fatalf("told\n%s\nwant\n%s", strings.Join(story, "\n"), strings.Join(want, "\n"))
		}
	}
	present := []string{"present " + host.path, "present " + via.path}
	slices.Sort(present)
	want(tell(came, 2), present...)

	guest := w.start(t, "guest", "--data", "guest", "-j", host.url)
	want(tell(came, 1), "joined "+guest.path)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := guest.signal(sig); err != nil {
			t.Fatal(err)
		}
		<-guest.done
		change := map[syscall.Signal]string{syscall.SIGTERM: "left ", syscall.SIGKILL: "failed "}[sig]
		want(tell(gone, 1), change+guest.path)
		guest = w.start(t, "guest", "--data", "guest", "-j", host.url)
		want(tell(came, 1), "joined "+guest.path)
	}
	w.must(t, "", "suicide", "-d", via.url, guest.path)
	want(tell(gone, 1), "left "+guest.path)
	for _, path := range []string{came, gone} {
		if stat := subscription(t, w, host, path); stat.Pending != 0 || stat.Overflow != 0 {
			t.Errorf("%s has more to tell: %+v", path, stat)
		}
	}
}

// TestReceiversShareEvents lets several receivers take the events of one
// subscription, and wants each event to reach one of them.
func TestReceiversShareEvents(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 2)
	path := servers[0].path + "/came"
	w.must(t, "", "mk@join", "-d", servers[0].url, path)
	const sharing, newcomers = 3, 7
	var outputs [sharing]result
	var all sync.WaitGroup
	for i := range sharing {
		all.Go(func() { outputs[i] = w.run("", "recv", "-n", "3", "--timeout", "30s", "-d", servers[i%2].url, path) })
	}
	want := []string{servers[0].path, servers[1].path}
	for i := range newcomers {
		want = append(want, w.start(t, fmt.Sprintf("new%d", i), "-j", servers[1].url).path)
	}
	all.Wait()
	var got []string
	for _, r := range outputs {
		if r.code != 0 {
			t.Errorf("recv: exit code %d\n%s", r.code, r.stderr)
		}
		got = append(got, strings.Fields(r.stdout)...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("received\n%v\nwant\n%v", got, want)
	}
}

// TestKilledEventReceiver kills a receiver that has an event and could not print
// it, and wants the next one to get it. The event has been given back once
// before, so that the state of the subscription tells when it is given out.
func TestKilledEventReceiver(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 2)
	path := servers[0].path + "/came"
	w.must(t, "", "mk@join", "-d", servers[0].url, path)
	first := giveBack(t, servers[1], path)

	_, in := pipe(t)
	fill(t, in)
	receiver := w.beginInto(t, nil, in, "recv", "-d", servers[1].url, path)
	w.await(t, 5*time.Second, "the receiver has the event", func() bool { return subscription(t, w, servers[0], path).Redelivered == 1 })
	receiver.kill()

	r := w.run("", "recv", "--timeout", "10s", "-d", servers[1].url, path)
	if r.code != 0 || r.stdout != first+"\n" || !strings.Contains(r.stderr, "redelivered") {
		t.Errorf("recv: exit code %d, printed %q, want %s\n%s", r.code, r.stdout, first, r.stderr)
	}
	if e := w.events(t, servers[0], path, 1)[0]; e.Redelivered || e.Path.String() == first {
		t.Errorf("the other event: %+v", e)
	}
}

// giveBack takes the first event of a subscription, gives it back, and returns
// the path that it tells of.
func giveBack(t *testing.T, s *server, path string) string {
	t.Helper()
	c, err := client.Dial(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := c.Walk(path)
	if err != nil {
		t.Fatal(err)
	}
	r := a.Subscription().Receiver(t.Context())
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return e.Path.String()
}

// fill fills a pipe, so that nothing more can be written to it.
func fill(t *testing.T, in *os.File) {
	t.Helper()
	if err := in.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := in.Write(make([]byte, 4096)); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestEventOverflow lets more servers fail than may wait, and wants to be told
// how many are missing.
func TestEventOverflow(t *testing.T) {
	w := newWorld(t)
	host := w.start(t, "host", "--limit", "events=2")
	path := host.path + "/gone"
	w.must(t, "", "mk@leave", "-d", host.url, path)
	var gone []string
	for i := range 4 {
		s := w.start(t, fmt.Sprintf("s%d", i), "-j", host.url)
		w.await(t, 10*time.Second, "it joined", func() bool { return len(w.list(host)) == 2 })
		s.kill()
		w.await(t, 10*time.Second, "it is gone", func() bool { return len(w.list(host)) == 1 })
		gone = append(gone, s.path)
	}
	if stat := subscription(t, w, host, path); stat.Pending != 2 || stat.Overflow != 2 || stat.Limit != 2 {
		t.Errorf("before: %+v", stat)
	}
	r := w.run("", "recv", "-n", "3", "-d", host.url, path)
	if want := "overflow 2\n" + gone[2] + "\n" + gone[3] + "\n"; r.code != 1 || r.stdout != want {
		t.Errorf("recv: exit code %d, printed %q, want %q\n%s", r.code, r.stdout, want, r.stderr)
	}
}

// TestHostOfASubscriptionIsKilled wants a receiver that waits to be told.
func TestHostOfASubscriptionIsKilled(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 2)
	path := servers[0].path + "/gone"
	w.must(t, "", "mk@leave", "-d", servers[0].url, path)
	waiting := w.begin(t, nil, "recv", "-d", servers[1].url, path)
	w.await(t, 5*time.Second, "recv waits", func() bool { return subscription(t, w, servers[1], path).Receivers == 1 })
	servers[0].kill()
	if r := waiting.wait(); r.code != 1 && r.code != 5 || !strings.HasPrefix(r.stderr, "circuit: recv "+path) || r.stdout != "" {
		t.Errorf("recv: exit code %d, printed %q\n%s", r.code, r.stdout, r.stderr)
	}
}

// TestServersAreAsked asks all servers, of which one is frozen.
func TestServersAreAsked(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 4)
	w.await(t, 10*time.Second, "every two have a link", func() bool {
		return strings.Contains(w.run("", "overlay", "-d", servers[0].url).stdout, "6, all known at both ends")
	})
	frozen := servers[2]
	if err := frozen.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r := w.run("", "servers", "--timeout", "300ms", "-d", servers[0].url)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.code != 7 || len(lines) != 5 || !strings.HasPrefix(r.stderr, "circuit: servers "+frozen.path+": no answer within 300ms") {
		t.Errorf("servers: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if dash := f[3] == "-" && f[4] == "-"; dash != (f[0] == frozen.path) {
			t.Errorf("line of a server: %s", line)
		}
	}
	r = w.run("", "overlay", "--timeout", "300ms", "-d", servers[0].url)
	if r.code != 7 || !strings.Contains(r.stdout, "4, of which 1 did not answer") || !strings.Contains(r.stdout, "6, all known at both ends") {
		t.Errorf("overlay: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if err := frozen.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var o client.Overlay
	if err := json.Unmarshal([]byte(w.must(t, "", "overlay", "-o", "json", "-d", servers[3].url)), &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Servers) != 4 || len(o.Links) != 6 || o.Diameter != 1 {
		t.Errorf("overlay: %+v", o)
	}
	if out := w.must(t, "", "overlay", "-o", "dot", "-d", servers[0].url); !strings.HasPrefix(out, "graph circuit {\n") || strings.Count(out, " -- ") != 6 {
		t.Errorf("overlay -o dot printed\n%s", out)
	}
}
