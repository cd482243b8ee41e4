package server

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTrim: memory is given back once after each change, when all is quiet, and
// never else.
func TestTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times atomic.Int32
		trim := newTrimmer(func() { times.Add(1) })
		defer trim.stop()
		want := func(after time.Duration, n int32) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := times.Load(); got != n {
				t.Errorf("%d times, want %d", got, n)
			}
		}
		want(trimAfter, 1)
		want(time.Hour, 1)
		for range 10 {
			trim.later()
			want(trimAfter-time.Second, 1)
		}
		want(time.Second, 2)
		trim.later()
		trim.stop()
		want(time.Hour, 2)
	})
	var none *trimmer
	none.stop()
}
