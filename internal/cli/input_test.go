package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEachLine(t *testing.T) {
	long := strings.Repeat("x", lineBuffer+1)
	for _, text := range []string{
		"", "a", "a\n", "a\nb", "\n\n", "a\n" + long + "\nb\n", long, long + "\n", long[:lineBuffer] + "\n",
		long[:lineBuffer-1] + "\n", long[:lineBuffer], strings.Repeat(long, 3) + "\n" + long + "\n",
	} {
		checkLines(t, []byte(text))
	}
}

func FuzzEachLine(f *testing.F) {
	f.Add([]byte("a\nb"), 3)
	f.Fuzz(func(t *testing.T, b []byte, times int) {
		checkLines(t, bytes.Repeat(b, 1+(times&0xff)*64))
	})
}

// checkLines compares eachLine with bytes.SplitAfter.
func checkLines(t *testing.T, text []byte) {
	t.Helper()
	var got [][]byte
	take := func(b []byte) error {
		if len(b) > lineBuffer {
			t.Fatal("a long line came at once")
		}
		got = append(got, bytes.Clone(b))
		return nil
	}
	err := eachLine(bytes.NewReader(text), take, func(r io.Reader) error {
		b, err := io.ReadAll(iotest.OneByteReader(r))
		got = append(got, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.SplitAfter(text, []byte("\n"))
	if last := len(want) - 1; len(want[last]) == 0 {
		want = want[:last]
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines instead of %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("line %d: %d bytes instead of %d", i, len(got[i]), len(want[i]))
		}
	}
}

// TestEachLineFails wants a failing input to be no end of a line.
func TestEachLineFails(t *testing.T) {
	for _, text := range []string{"a\nb", strings.Repeat("x", 2*lineBuffer)} {
		r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("broken")))
		whole := 0
		err := eachLine(r, func(b []byte) error {
			if b[len(b)-1] != '\n' {
				t.Errorf("%q came as a line", b)
			}
			return nil
		}, func(r io.Reader) error {
			_, err := io.ReadAll(r)
			if err == nil {
				whole++
			}
			return err
		})
		if err == nil || whole > 0 {
			t.Errorf("error %v after %d whole long lines", err, whole)
		}
	}
}

func TestInput(t *testing.T) {
	text := strings.Repeat("0123456789", 100_000)
	a := &app{env: Env{Stdin: iotest.HalfReader(strings.NewReader(text))}}
	b, err := io.ReadAll(a.input(t.Context(), nil))
	if err != nil || string(b) != text {
		t.Errorf("%d bytes of %d, error %v", len(b), len(text), err)
	}
}

// TestInputEnds wants reading to end although the file gives nothing.
func TestInputEnds(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	a := &app{env: Env{Stdin: r}}

	ended := make(chan struct{})
	in := a.input(t.Context(), ended)
	got := make(chan error, 1)
	go func() { _, err := in.Read(make([]byte, 1)); got <- err }()
	close(ended)
	if err := <-got; !errors.Is(err, errEnded) {
		t.Errorf("after the end: %v", err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	in = a.input(ctx, nil)
	go func() { _, err := in.Read(make([]byte, 1)); got <- err }()
	cancel(errInterrupted)
	if err := <-got; !errors.Is(err, errInterrupted) {
		t.Errorf("after the interruption: %v", err)
	}
}

func TestURLArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "urls")
	if err := os.WriteFile(file, []byte("10.0.0.1:1\n\n circuit://10.0.0.2:2 \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin := strings.NewReader("10.0.0.3:3\nthe rest\n")
	a := &app{env: Env{Stdin: stdin}}
	for value, want := range map[string]string{
		"10.0.0.1:11022": "10.0.0.1:11022",
		"@" + file:       "10.0.0.1:1 circuit://10.0.0.2:2",
		"-":              "10.0.0.3:3",
	} {
		got, err := a.urlArguments(t.Context(), "-d", value)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("-d %s: %q, error %v", value, got, err)
		}
	}
	if rest, _ := io.ReadAll(stdin); string(rest) != "the rest\n" {
		t.Errorf("after -d -, standard input gives %q", rest)
	}
}
