package replica

import (
	"fmt"
	"time"
)

const (
	calm         = time.Minute           // between two losses of different causes, and between two reports
	shortestPace = 10 * time.Millisecond // doubled with each load
	longestPace  = 5 * time.Second
)

// Pace spaces out loads of everything that follow each other. The zero value is ready
// for use. It is not safe for concurrent use.
type Pace struct {
	loads int // without a minute of calm
	last  time.Time
}

// Next returns how long to wait until everything is loaded: the longer, the more
// often that was needed lately, and at most half of maxStale.
func (p *Pace) Next(maxStale time.Duration) time.Duration {
	if time.Since(p.last) > calm {
		p.loads = 0
	}
	p.loads++
	p.last = time.Now()
	if p.loads == 1 {
		return 0
	}
	return min(shortestPace<<min(p.loads, 10), longestPace, maxStale/2)
}

// Rarely reports one of many errors a minute. The zero value is ready for use. It is
// not safe for concurrent use.
type Rarely struct {
	last    time.Time
	skipped int // since then
}

// Report calls report with err, unless it did so less than a minute ago.
func (r *Rarely) Report(report func(error), err error) {
	if !r.last.IsZero() && time.Since(r.last) < calm {
		r.skipped++
		return
	}
	if r.skipped > 0 {
		err = fmt.Errorf("%w (and %d times since the last report)", err, r.skipped)
	}
	*r = Rarely{last: time.Now()}
	report(err)
}
