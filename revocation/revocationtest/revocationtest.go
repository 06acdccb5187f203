// Package revocationtest tests implementations of [revocation.Store].
package revocationtest

import (
	"context"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Backend is a store that [TestStore] tests.
//
// TestStore calls two more methods if a store has them. Wait() returns when
// nothing of the store is running, after its context has ended. Staleness()
// time.Duration returns how long ago its copy was known to be complete.
type Backend struct {
	_ struct{}

	// Open returns another instance of the store on the same data. An instance
	// may run in the background until ctx ends. If it keeps a copy of the data,
	// Revoked returns an error when the copy is older than maxStale. A store in
	// memory has one instance, which Open always returns.
	Open func(ctx context.Context, maxStale time.Duration) (revocation.Store, error)

	// Stop makes the data unreachable for the instances, and Start makes it
	// reachable again. If they are nil, the tests that need them are skipped.
	Stop, Start func()

	// Delay is the time within which a change must be in force on every
	// instance. It may be long: a test ends its wait as soon as the change is in
	// force.
	Delay time.Duration
}

// TestStore tests that a store does what [revocation.Store] says, on each of its
// instances, across restarts and while its data is unreachable. It calls backend in
// each of its subtests, for a store without entries. The race detector finds more.
func TestStore(t *testing.T, backend func(t *testing.T) Backend) {
	for _, test := range []struct {
		name string
		run  func(*storeTest)
	}{
		{"the tokens that an entry revokes", (*storeTest).semantics},
		{"the later times are kept", (*storeTest).laterTimes},
		{"invalid entries and tokens", (*storeTest).refusals},
		{"one token, with and without an ID", (*storeTest).tokens},
		{"removal", (*storeTest).removal},
		{"any text", (*storeTest).anyText},
		{"expired entries", (*storeTest).expiry},
		{"restart", (*storeTest).restart},
		{"concurrent writers", (*storeTest).writers},
		{"instances that open during writes", (*storeTest).overlap},
		{"unreachable data", (*storeTest).unreachable},
		{"nothing is left running", (*storeTest).end},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			s := &storeTest{T: t, backend: backend(t), ctx: ctx}
			t.Cleanup(func() {
				cancel()
				for _, store := range s.opened {
					wait(store)
				}
			})
			test.run(s)
		})
	}
}

// wait calls Wait, if the store has it.
func wait(store revocation.Store) {
	if w, ok := store.(interface{ Wait() }); ok {
		w.Wait()
	}
}

// freshEnough is a MaxStale that no test reaches by being slow.
const freshEnough = 5 * time.Minute

func (s *storeTest) open() revocation.Store {
	s.Helper()
	return s.openWith(s.ctx, freshEnough)
}

func (s *storeTest) openWith(ctx context.Context, maxStale time.Duration) revocation.Store {
	s.Helper()
	store, err := s.backend.Open(ctx, maxStale)
	if err != nil {
		s.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, store)
	return store
}

func (s *storeTest) revoke(store revocation.Store, e revocation.Entry) {
	s.Helper()
	if err := store.Revoke(s.ctx, e); err != nil {
		s.Fatal(err)
	}
}

// want checks what store says of token now.
func (s *storeTest) want(store revocation.Store, token *jwthttp.Token, revoked bool) {
	s.Helper()
	if got, err := store.Revoked(s.ctx, token); err != nil || got != revoked {
		s.Errorf("%v is revoked: %v, %v; want %v", token, got, err, revoked)
	}
}

// wantSoon checks it within the backend's Delay.
func (s *storeTest) wantSoon(store revocation.Store, token *jwthttp.Token, revoked bool) {
	s.Helper()
	s.within(s.backend.Delay, func() bool {
		got, err := store.Revoked(s.ctx, token)
		return err == nil && got == revoked
	})
	s.want(store, token, revoked)
}

// within polls until ok, or until the time is over.
func (s *storeTest) within(d time.Duration, ok func() bool) bool {
	for start := time.Now(); time.Since(start) < d; {
		if ok() {
			return true
		}
		<-time.After(time.Millisecond)
	}
	return ok()
}
