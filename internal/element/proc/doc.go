// Package proc is the process element: it runs processes through its Host,
// keeps their output in spools, feeds their input, tells how they end, and is
// the Procs service.
//
// Each process has three goroutines: one waits for its end, two copy its
// output from the pipes into the spools. They end when the process has ended
// and its streams are closed, or when the element is scrubbed. After the end of
// the process another holds on to its group, until nobody is left in it. Shutdown
// waits for them all. Package server makes one Service; all its methods, and those of a
// Proc, may be called from any goroutine.
package proc
