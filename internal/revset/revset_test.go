package revset

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
)

func byID(i int) Key { return Key{ByID, "i", fmt.Sprint(i)} }

func in(d time.Duration) Times { return Times{Expires: time.Now().Add(d).Unix()} }

// size returns the number of entries, expired ones included.
func (s *Set) size() int {
	n := 0
	for i := range s.shards {
		for _, e := range s.shards[i].groups {
			n += len(e.times)
		}
	}
	return n
}

func revoked(s *Set, i int) bool {
	return s.Contains(&jwthttp.Token{Issuer: "i", ID: fmt.Sprint(i)})
}

// Without a call of Len, changes keep the number of expired entries small.
func TestSet_sweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		const perMinute, alive = 2000, 10 + 5 // minutes
		for minute := range 60 {
			for i := range perMinute {
				s.Put(byID(minute*perMinute+i), in(10*time.Minute))
			}
			if most := perMinute * (alive + 1) * 5 / 4; s.size() > most {
				t.Fatalf("minute %d: %d entries, %d in force", minute, s.size(), min(minute+1, alive)*perMinute)
			}
			time.Sleep(time.Minute)
		}
		s.Put(byID(-1), Times{Expires: Never})
		time.Sleep(time.Hour)
		for i := range 2 * s.size() { // changes that add nothing
			s.Remove(Key{ByID, "i", fmt.Sprint("none ", i)})
		}
		if s.size() > 20 || !revoked(&s, -1) {
			t.Errorf("%d entries are left of 1, in force: %v", s.size(), revoked(&s, -1))
		}
		if n := s.Len(); n != 1 || s.size() != 1 {
			t.Errorf("Len is %d, %d entries", n, s.size())
		}
	})
}

// Maps do not shrink by themselves. The memory of a list that was large comes back.
func TestSet_memory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		for _, load := range []bool{false, true} {
			emptied(t, heap, load)
		}
	})
}

func emptied(t *testing.T, heap func() int64, load bool) {
	s := new(Set)
	before := heap()
	for i := range 100_000 {
		times := in(time.Minute)
		if i%1000 == 0 {
			times = in(2 * time.Hour)
		}
		if load {
			s.Load(byID(i), times)
		} else {
			s.Put(byID(i), times)
		}
	}
	if load {
		settle(s)
	}
	full := heap() - before
	time.Sleep(time.Hour)
	if n := s.Len(); n != 100 {
		t.Errorf("%d entries", n)
	}
	if kept := heap() - before; kept > full/10 {
		t.Errorf("loaded %v: a nearly empty set keeps %d bytes of %d", load, kept, full)
	}
	runtime.KeepAlive(s)
}

// settle settles all parts.
func settle(s *Set) {
	for part := range Parts {
		s.Settle(part)
	}
}

// The number of entries of a kind decides whether a look-up is made at all.
func TestSet_counts(t *testing.T) {
	var s Set
	key := Key{BySubject, "i", "s"}
	times := Times{Until: time.Now().UnixNano(), Expires: Never}
	load := func(times ...Times) {
		for _, times := range times {
			s.Load(key, times)
		}
		settle(&s)
	}
	s.Put(key, times)
	s.Put(key, times)
	load(Times{Until: 1, Expires: Never})
	if got, ok := s.Get(key); !ok || got.Until != 1 {
		t.Errorf("loaded %v, %v", got, ok)
	}
	if n := s.held[BySubject].Load(); n != 1 {
		t.Errorf("%d entries by subject", n)
	}
	s.Remove(key)
	s.Remove(key)
	load(Times{Until: 1, Expires: Never}, times)
	if n := s.held[BySubject].Load(); n != 1 || !s.Contains(&jwthttp.Token{Issuer: "i", Subject: "s"}) {
		t.Errorf("%d entries by subject after Load", n)
	}
	s.Remove(key)
	if n := s.held[BySubject].Load(); n != 0 || s.Len() != 0 {
		t.Errorf("%d entries by subject after Remove, Len %d", n, s.Len())
	}
}

// A clock that jumps neither ends an entry that is in force nor deletes it.
func TestSet_clock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		jumps []time.Duration // of the wall clock, one after the other, from the true time
		sleep time.Duration
		want  bool
	}{
		{"no jump, in force", []time.Duration{0}, 15 * time.Minute, true},
		{"no jump, expired", []time.Duration{0}, 15*time.Minute + time.Second, false},
		{"a jump ahead", []time.Duration{24 * time.Hour}, time.Minute, true},
		{"a jump ahead and back", []time.Duration{24 * time.Hour, 0}, time.Minute, true},
		{"a jump back", []time.Duration{-24 * time.Hour}, time.Minute, true},
		{"a jump back, when it would have expired", []time.Duration{-24 * time.Hour}, time.Hour, true},
		{"a jump back and ahead", []time.Duration{-24 * time.Hour, 0}, time.Minute, true},
		{"a jump ahead, when it has expired", []time.Duration{24 * time.Hour}, time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var jump time.Duration
				s := Set{wall: func() time.Time { return time.Now().Add(jump) }}
				s.Put(byID(1), in(10*time.Minute))
				time.Sleep(tt.sleep)
				for _, jump = range tt.jumps {
					if revoked(&s, 1) != tt.want {
						t.Errorf("in force with the wall clock off by %v: %v", jump, !tt.want)
					}
					s.Put(byID(1000), Times{Expires: Never})
					if n := s.Len(); n != 2 && tt.want || n != 1 && !tt.want {
						t.Errorf("%d entries with the wall clock off by %v", n, jump)
					}
				}
			})
		})
	}
}

// Aligned sets have an entry in the same part, also if the first is empty.
func TestSet_Align(t *testing.T) {
	var a, b Set
	b.Align(&a)
	for i := range 1000 {
		a.Put(byID(i), in(time.Hour))
		b.Put(byID(i), in(time.Hour))
	}
	n := 0
	for part := range Parts {
		in := map[Key]bool{}
		for key := range a.Part(part) {
			in[key] = true
		}
		for key := range b.Part(part) {
			if n++; !in[key] {
				t.Fatalf("%v is in part %d of one of two sets", key, part)
			}
		}
	}
	if n != 1000 {
		t.Errorf("%d entries", n)
	}
}

// A set that is loaded while the wall clock is wrong has the clock of the set that it
// replaces.
func TestSet_Align_clock(t *testing.T) {
	var old, loaded Set
	old.Put(byID(1), Times{Expires: time.Now().Add(time.Hour).Unix()})
	loaded.Align(&old)
	if loaded.start != old.start {
		t.Errorf("%v and %v", loaded.start, old.start)
	}
}
