package lookup

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The clock of a bubble cannot stand still, so these tests move the times of an
// answer. Rule 63
func TestTable_Get_suspendedMachine(t *testing.T) {
	for _, tt := range []struct {
		name            string
		monotonic, wall time.Duration // since the answer, apart from a second on both
		again           bool          // it is looked up again
	}{
		{"a second later", 0, 0, false},
		{"the machine slept, and the monotonic clock stood still", 0, time.Hour, true},
		{"the monotonic clock alone advanced", time.Hour, 0, true},
		{"the wall clock was set back", 0, -time.Hour, false},
		{"the wall clock was set back, and the time has passed", time.Hour, -time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, value := range []*int{new(int), nil} {
					calls := 0
					table := New(func(context.Context, string) (*int, error) { calls++; return value, nil }, time.Minute, 10, 100)
					if _, err := table.Get(t.Context(), "a", time.Now()); err != nil {
						t.Fatal(err)
					}
					a := table.known("a", time.Now())
					a.since.Monotonic, a.since.Wall = a.since.Monotonic.Add(-tt.monotonic), a.since.Wall.Add(-tt.wall)
					time.Sleep(time.Second)
					if _, err := table.Get(t.Context(), "a", time.Now()); err != nil {
						t.Fatal(err)
					}
					if again := calls == 2; again != tt.again {
						t.Errorf("%d calls", calls)
					}
				}
			})
		})
	}
}

// A wall clock that jumps ahead and back revives no answer. Rule 63
func TestTable_Get_wallClockBack(t *testing.T) {
	for _, first := range []*int{new(int), nil} {
		synctest.Test(t, func(t *testing.T) {
			value := first
			table := New(func(context.Context, string) (*int, error) { return value, nil }, time.Minute, 10, 100)
			if _, err := table.Get(t.Context(), "a", time.Now()); err != nil {
				t.Fatal(err)
			}
			a := table.known("a", time.Now())
			if value = nil; first == nil {
				value = new(int)
			}
			a.since.Wall = a.since.Wall.Add(-time.Hour)
			for range 2 {
				if got, err := table.Get(t.Context(), "a", time.Now()); got != value || err != nil {
					t.Errorf("got %v, %v, want %v", got, err, value)
				}
				a.since.Wall = a.since.Wall.Add(time.Hour)
			}
		})
	}
}
