package spool

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// A writer without limits and a reader that takes its time: a fast reader
// gets nearly all of it from memory, whether it was there from the beginning
// or came late, and a slow one does not hold the writer back.
func TestPace(t *testing.T) {
	const size = 24 << 20
	for _, c := range []struct {
		name   string
		head   int           // bytes written before the reader comes
		each   time.Duration // time that the reader takes for a chunk
		inFile int           // chunks that may come from the file
		writer time.Duration // time that the writer may take
	}{
		{"fast", 100, 500 * time.Microsecond, 16, time.Second},
		{"late", 8 << 20, 500 * time.Microsecond, 160, time.Second},
		{"slow", 100, 50 * time.Millisecond, size / blockSize, 10 * paceWait},
		{"gone", 100, time.Hour, size / blockSize, 10 * paceWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSpool(t, Config{Limit: 64 << 20})
				mustWrite(t, s, c.head)
				ended := make(chan time.Duration, 1)
				cursor := s.Cursor(0, true)
				chunk, err := cursor.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				chunk.Free()
				go func() {
					began := time.Now()
					mustWrite(t, s, size-c.head)
					ended <- time.Since(began)
					s.End()
				}()
				inFile := 0
				for {
					time.Sleep(c.each)
					s.mu.Lock()
					if len(s.pieces) > 0 && cursor.pos < s.pieces[0].off {
						inFile++
					}
					s.mu.Unlock()
					chunk, err := cursor.Next(t.Context())
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					chunk.Free()
				}
				if took := <-ended; took > c.writer || inFile > c.inFile {
					t.Errorf("the writer took %v, %d chunks of %d came from the file", took, inFile, size/blockSize)
				}
			})
		})
	}
}
