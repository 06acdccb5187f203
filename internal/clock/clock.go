// Package clock measures how long ago something happened when neither of a
// machine's clocks can be trusted alone.
package clock

import "time"

// Moment is a point in time on both clocks. The monotonic clock may stand still
// while a machine is suspended, and the wall clock can be set.
type Moment struct {
	Monotonic time.Time
	Wall      time.Time // without a monotonic reading
}

// Now returns the current moment.
func Now() Moment {
	now := time.Now()
	return Moment{Monotonic: now, Wall: now.Round(0)}
}

// Age returns how long ago m was, by the clock that advanced more.
func (m Moment) Age() time.Duration { return m.AgeAt(time.Now()) }

// AgeAt is Age for a caller that has just read the clock.
func (m Moment) AgeAt(now time.Time) time.Duration {
	return max(now.Sub(m.Monotonic), now.Round(0).Sub(m.Wall))
}
