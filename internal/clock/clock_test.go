package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp/internal/clock"
)

func TestMoment_Age(t *testing.T) {
	for _, tt := range []struct {
		name      string
		monotonic time.Duration // moved of each clock while a minute passes
		wall      time.Duration
		want      time.Duration
	}{
		{"both clocks agree", 0, 0, time.Minute},
		{"the monotonic clock stood still", 0, time.Hour, time.Hour + time.Minute},
		{"the wall clock was set back", 0, -time.Hour, time.Minute},
		{"the monotonic clock alone advanced", time.Hour, 0, time.Hour + time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := clock.Now()
				m.Monotonic, m.Wall = m.Monotonic.Add(-tt.monotonic), m.Wall.Add(-tt.wall)
				time.Sleep(time.Minute)
				if got := m.Age(); got != tt.want {
					t.Errorf("age %v, want %v", got, tt.want)
				}
				if got := m.AgeAt(time.Now().Add(time.Second)); got != tt.want+time.Second {
					t.Errorf("age a second later %v", got)
				}
			})
		})
	}
}
