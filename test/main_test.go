package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// long is whether the tests run at full size.
func long() bool { return os.Getenv("CIRCUIT_LONG") == "1" }

// size returns one of two sizes of a test.
func size(short, full int) int {
	if long() {
		return full
	}
	return short
}

// program is the file of the program under test, and its directory.
func program() string    { return filepath.Join(programDir(), "circuit") }
func programDir() string { return os.Getenv("CIRCUIT_TEST_BIN") }

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

// buildAndRun builds the program, unless CIRCUIT_TEST_BIN names a directory
// that has it already.
func buildAndRun(m *testing.M) int {
	if programDir() != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "circuit-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "circuit"), "github.com/gocircuit/circuit/cmd/circuit")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	os.Setenv("CIRCUIT_TEST_BIN", dir)
	return m.Run()
}
