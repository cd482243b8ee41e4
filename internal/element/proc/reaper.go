package proc

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// reaper waits for processes where the system has no descriptor for them: at
// each SIGCHLD it looks at all. One goroutine, whatever their number.
type reaper struct {
	signals chan os.Signal
	stop    chan struct{}
	ended   chan struct{}

	mu       sync.Mutex
	children map[*localChild]chan Exit
}

func newReaper() *reaper {
	r := &reaper{
		signals: make(chan os.Signal, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		children: make(map[*localChild]chan Exit),
	}
	signal.Notify(r.signals, syscall.SIGCHLD)
	go r.run() // ends with close, which waits for it
	return r
}

func (r *reaper) run() {
	defer close(r.ended)
	for {
		select {
		case <-r.signals:
			r.look()
		case <-r.stop:
			return
		}
	}
}

// look reaps all that have ended.
func (r *reaper) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, ended := range r.children {
		if exit, ok := c.reap(); ok {
			ended <- exit
			delete(r.children, c)
		}
	}
}

// await returns a function that waits for c. From its call on, c is reaped as
// soon as it ends.
func (r *reaper) await(c *localChild) func() Exit {
	ended := make(chan Exit, 1)
	r.mu.Lock()
	r.children[c] = ended
	r.mu.Unlock()
	r.look() // its signal may have come before
	return func() Exit { return <-ended }
}

// close stops reaping.
func (r *reaper) close() {
	signal.Stop(r.signals)
	close(r.stop)
	<-r.ended
}
