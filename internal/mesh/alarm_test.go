package mesh

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestGoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { checkAlarm(t, newGoAlarm()) })
}

func TestSystemAlarm(t *testing.T) {
	a := SystemAlarm()
	if a == nil {
		t.Log("there is none on this system")
		return
	}
	checkAlarm(t, a)
}

func checkAlarm(t *testing.T, a Alarm) {
	t.Helper()
	rings := make(chan time.Time)
	go func() {
		defer close(rings)
		for a.Wait() {
			rings <- time.Now()
		}
	}()
	want := func(what string, at time.Time) {
		t.Helper()
		if rang := <-rings; rang.Before(at) {
			t.Errorf("%s: it rang %v early", what, at.Sub(rang))
		}
	}
	silent := func(what string) {
		t.Helper()
		select {
		case <-rings:
			t.Errorf("%s: it rang", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
	silent("never set")
	at := time.Now().Add(20 * time.Millisecond)
	a.Set(at)
	want("set", at)
	silent("once")
	a.Set(time.Now().Add(-time.Hour))
	want("in the past", time.Time{})
	at = time.Now().Add(30 * time.Millisecond)
	a.Set(time.Now().Add(time.Hour))
	a.Set(at)
	want("sooner", at)
	a.Set(time.Now().Add(10 * time.Millisecond))
	a.Set(time.Time{})
	silent("not any more")
	a.Set(time.Now().Add(time.Hour))
	a.Close()
	if _, open := <-rings; open {
		t.Error("it rang when it was closed")
	}
	a.Set(time.Now())
	a.Close()
}
