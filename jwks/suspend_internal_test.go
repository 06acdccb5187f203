package jwks

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/clock"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// The clock of a bubble cannot stand still, so these tests move the times that a
// Set has noted.
func TestSet_suspendedMachine(t *testing.T) {
	for _, tt := range []struct {
		name            string
		monotonic, wall time.Duration // while the machine slept
		ended           bool          // the Set's context
		available       bool
	}{
		{"keys older than MaxStale by the wall clock", 0, 2 * time.Hour, false, false},
		{"keys older than MaxStale by the monotonic clock", 2 * time.Hour, 0, false, false},
		{"keys younger than MaxStale by both", 30 * time.Minute, 30 * time.Minute, false, true},
		{"a wall clock that was set back", 0, -time.Hour, false, true},
		{"an end of the context 10 minutes ago by the wall clock", 0, 10 * time.Minute, true, false},
		{"an end of the context a minute ago", time.Minute, time.Minute, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwthttptest.New(t, "ES256")
				ctx, end := context.WithCancel(context.Background())
				defer end()
				s, err := New(ctx, issuer.KeySetURL(), Options{Client: issuer.Client(), MaxStale: time.Hour, OnError: func(error) {}})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				issuer.Down(true)
				if tt.ended {
					end()
					synctest.Wait()
					s.ended.Store(&clock.Moment{Monotonic: time.Now().Add(-tt.monotonic), Wall: time.Now().Round(0).Add(-tt.wall)})
				} else {
					slept := *s.current.Load()
					slept.began.Monotonic = slept.began.Monotonic.Add(-tt.monotonic)
					slept.began.Wall = slept.began.Wall.Add(-tt.wall)
					s.current.Store(&slept)
				}
				q := keyset.Query{KeyID: issuer.KeyID(), HasKeyID: true, Algorithm: "ES256", Issuer: issuer.Name()}
				if _, err := s.FindKeys(t.Context(), q); (err == nil) != tt.available || err != nil && !errors.Is(err, jwthttp.ErrKeysUnavailable) {
					t.Errorf("error %v, want keys: %v", err, tt.available)
				}
				if tt.ended {
					return
				}
				issuer.Down(false)
				time.Sleep(10 * time.Second)
				if _, err := s.FindKeys(t.Context(), q); err != nil {
					t.Errorf("once the server answers: %v", err)
				}
			})
		})
	}
}
