package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/clock"
)

const (
	// minPause is the minimum time between fetches in the background.
	minPause = 10 * time.Millisecond
	// maxRetry is the maximum time between fetches while there is no good set.
	maxRetry = 30 * time.Second
	// serveAfterEnd is how long keys are used once the context of a Set has
	// ended, for the requests of a graceful shutdown. Not longer: revoked keys
	// would stay in use, unnoticed, in a program that ended the wrong context.
	serveAfterEnd = 5 * time.Minute
)

// fetch is one run of update.
type fetch struct {
	done       chan struct{}
	err        error // once done is closed
	metadata   error // why the keys were fetched from the last known URL
	background bool  // another one follows after a pause
}

// wait returns when the fetch has ended, or with an error if ctx ends first.
func (f *fetch) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", jwthttp.ErrKeysUnavailable, ctx.Err())
	case <-f.done:
		return nil
	}
}

// begin starts the first fetch. The Set is complete.
func (s *Set) begin() {
	s.ready = make(chan struct{})
	s.fetchInBackground()
}

// fetchInBackground joins or starts a fetch. When it has ended, finish sets a timer
// for the next one: a Set has no goroutine while it waits.
func (s *Set) fetchInBackground() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, _ := s.joinLocked(); f != nil {
		f.background = true
	}
}

// refresh is called when the next fetch in the background is due.
func (s *Set) refresh() {
	if !s.pooled.dropIdle(s) {
		s.fetchInBackground()
	}
}

// end notes that the context has ended.
func (s *Set) end() {
	now := clock.Now()
	s.ended.Store(&now)
	s.stop()
	s.report(slog.LevelWarn, s.endError()) // not an error: a server may be shutting down
}

// stop ends the fetches in the background, except a running one.
func (s *Set) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		s.next.Stop()
	}
}

// pause returns the time to the next fetch in the background.
func (s *Set) pause(failures int) time.Duration {
	// Keys must be fetched again before they are stale.
	pause := min(s.opts.RefreshInterval, s.opts.MaxStale/2+1)
	left := time.Duration(0) // until there is no good set
	if set := s.fresh(); set != nil {
		left = s.opts.MaxStale - set.began.Age()
		if set.maxAge > 0 {
			pause = min(pause, max(set.maxAge, s.opts.MinInterval))
		}
	}
	if failures > 0 {
		// A failing server is asked less and less often: after 1 s, 2 s, 4 s...
		backoff := max(minPause, min(time.Second, s.opts.MinInterval)) << min(failures-1, 16)
		pause = min(pause, backoff, left+maxRetry)
	}
	pause = max(pause, minPause)
	// Up to a tenth less, so that many instances do not fetch at once. The sets of a
	// Pool may have been started at once as well.
	part := time.Duration(10)
	if s.pooled != nil && failures == 0 {
		part = 2
	}
	return pause - rand.N(pause/part+1)
}

// join returns the running fetch, or starts one. It returns nil if the context
// has ended.
func (s *Set) join() (f *fetch, started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joinLocked()
}

func (s *Set) joinLocked() (f *fetch, started bool) {
	if s.running != nil || s.ctx.Err() != nil {
		return s.running, false
	}
	f = &fetch{done: make(chan struct{})}
	s.running = f
	go s.run(f, s.failed != nil)
	return f, true
}

// request returns the running fetch, or starts one for a request. It returns
// nil if MinInterval does not permit one yet.
func (s *Set) request() (f *fetch, started bool) {
	if s.ctx == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.running == nil && now.Before(s.allowed) {
		return nil, false
	}
	f, started = s.joinLocked()
	if started {
		s.allowed = now.Add(s.opts.MinInterval)
	}
	return f, started
}

// run runs one fetch. It uses no request's context: a client that hangs up must
// not abort what others wait for.
func (s *Set) run(f *fetch, failedBefore bool) {
	var set *keys
	err := errors.New("jwks: fetch ended its goroutine")
	defer func() { s.finish(f, set, err) }() // even if the transport calls runtime.Goexit
	if failedBefore {
		// Again: a connection of HTTP/2 may not have been idle right after the failure.
		s.closeIdleConnections()
	}
	if caught := catch(func() error { set, err = s.update(f); return nil }); caught != nil {
		set, err = nil, fmt.Errorf("jwks: fetch: %w", caught)
	}
	if err != nil {
		s.closeIdleConnections()
	}
}

// closeIdleConnections makes the next fetch use a new connection.
func (s *Set) closeIdleConnections() {
	_ = catch(func() error { s.opts.Client.CloseIdleConnections(); return nil })
}

func (s *Set) finish(f *fetch, set *keys, err error) {
	if err == nil && s.current.Swap(set) == nil {
		close(s.ready)
	}
	s.mu.Lock()
	s.running, s.failed = nil, err
	if f.background {
		s.failures++
		if err == nil {
			s.failures = 0
		}
		if !s.pooled.isDropped() && s.ctx.Err() == nil {
			s.next = time.AfterFunc(s.pause(s.failures), s.refresh)
		}
	}
	s.mu.Unlock()
	f.err = err
	close(f.done)
	for _, err := range []error{f.metadata, err} {
		if err != nil && s.ctx.Err() == nil {
			s.report(slog.LevelError, err)
		}
	}
}

// report calls OnError, or logs if it is nil or panics.
func (s *Set) report(level slog.Level, err error) {
	log := func(err error) error {
		return catch(func() error { slog.Log(context.Background(), level, err.Error()); return nil })
	}
	if s.opts.OnError == nil {
		_ = log(err)
	} else if caught := catch(func() error { s.opts.OnError(err); return nil }); caught != nil {
		_ = log(fmt.Errorf("jwks: OnError: %w", caught))
	}
}

// fresh returns the current keys unless they are too old to be used.
func (s *Set) fresh() *keys {
	set := s.current.Load()
	if set == nil || s.ctx == nil {
		return set
	}
	if set.began.Age() > s.opts.MaxStale {
		return nil
	}
	if ended := s.ended.Load(); ended != nil && ended.Age() > serveAfterEnd {
		return nil
	}
	return set
}

func (s *Set) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *Set) endError() error {
	return fmt.Errorf("jwks: %s: its context has ended, so keys are no longer fetched: %w", s.name(), s.ctx.Err())
}

// unavailable returns an error that is jwthttp.ErrKeysUnavailable unless the
// keys are known to be current. It wraps nothing else: a context that ended
// elsewhere must not look like a client that hung up.
func (s *Set) unavailable() error {
	if s.ctx == nil {
		return nil
	}
	var reason error
	switch failed := s.failure(); {
	case s.ctx.Err() != nil:
		reason = s.endError()
	case failed != nil:
		reason = failed
	case s.fresh() == nil:
		reason = fmt.Errorf("jwks: %s: no keys younger than %v", s.name(), s.opts.MaxStale)
	default:
		return nil
	}
	return fmt.Errorf("%w: %v", jwthttp.ErrKeysUnavailable, reason)
}
