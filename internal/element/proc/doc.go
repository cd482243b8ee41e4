// Package proc is the process element: it runs processes, keeps their output,
// feeds their input, and tells how they end.
package proc
