package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
)

const (
	revoked     = invalid + "revoked"
	unavailable = "503 revocation_unavailable"
)

// Rule 40.
func TestTheRevocationHook(t *testing.T) {
	answer := func(revoked bool, err error) jwthttp.RevokedFunc {
		return func(context.Context, *jwthttp.Token) (bool, error) { return revoked, err }
	}
	late := func(revoked bool, after time.Duration) jwthttp.RevokedFunc {
		return func(context.Context, *jwthttp.Token) (bool, error) { time.Sleep(after); return revoked, nil }
	}
	heeding := func(ctx context.Context, _ *jwthttp.Token) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	for _, tt := range []struct {
		name         string
		hook         jwthttp.RevokedFunc
		closed, open string // the verdict without and with FailOpen
	}{
		{"not revoked", answer(false, nil), admitted, admitted},
		{"revoked", answer(true, nil), revoked, revoked},
		{"failed", answer(false, errors.New("store out of reach")), unavailable, admitted},
		{"failed, and says revoked", answer(true, errors.New("store out of reach")), unavailable, revoked},
		{"ErrRevoked as an error", answer(false, fmt.Errorf("store: %w", jwthttp.ErrRevoked)), revoked, revoked},
		{"panics", func(context.Context, *jwthttp.Token) (bool, error) { panic("nil map") }, unavailable, admitted},
		{"panics with http.ErrAbortHandler", func(context.Context, *jwthttp.Token) (bool, error) { panic(http.ErrAbortHandler) }, unavailable, admitted},
		{"heeds the deadline", heeding, unavailable, admitted},
		{"just in time", late(false, time.Second-1), admitted, admitted},
		{"at the deadline: not revoked", late(false, time.Second), unavailable, admitted},
		{"after the deadline: not revoked", late(false, time.Minute), unavailable, admitted},
		{"after the deadline: revoked", late(true, time.Minute), unavailable, revoked},
	} {
		for _, failOpen := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, FailOpen %v", tt.name, failOpen), func(t *testing.T) {
				opts := options()
				opts.Revoked, opts.FailOpen = tt.hook, failOpen
				unchecked := false
				opts.Observer = func(_ *http.Request, e jwthttp.Event) { unchecked = e.Unchecked }
				want := tt.closed
				if failOpen {
					want = tt.open
				}
				checkVerdict(t, mustNew[testClaims](t, opts), get(bearer(goodToken(nil))), want)
				if wantUnchecked := tt.closed == unavailable && want == admitted; unchecked != wantUnchecked {
					t.Errorf("Event.Unchecked %v, want %v", unchecked, wantUnchecked)
				}
			})
		}
	}
}

func TestTheHookRunsOnlyForVerifiedTokensAndHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		opts := options()
		opts.RevocationTimeout = 3 * time.Second
		opts.Revoked = func(ctx context.Context, token *jwthttp.Token) (bool, error) {
			asked++
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 3*time.Second {
				t.Errorf("deadline %v, %v", deadline, ok)
			}
			if token.Raw() == "" || token.Subject != "alice" {
				t.Errorf("token %v", token)
			}
			return false, nil
		}
		m := mustNew[testClaims](t, opts)
		for _, bad := range []string{altered(goodToken(nil)), goodToken(map[string]any{"exp": 1}), goodToken(map[string]any{"cnf": 1}), goodToken(map[string]any{"role": 1})} {
			_ = verdict(m, get(bearer(bad)))
		}
		if asked != 0 {
			t.Errorf("asked %d times about refused tokens", asked)
		}
		_ = verdict(m, get(bearer(goodToken(nil))))
		if asked != 1 {
			t.Errorf("asked %d times about a good one", asked)
		}
	})
}

// The hook's context is set a timer only when somebody asks for Done; it must not
// show otherwise.
func TestTheContextOfTheHook(t *testing.T) {
	ask := func(t *testing.T, request context.Context, hook func(context.Context)) {
		t.Helper()
		opts := options()
		opts.CacheSize = 0
		opts.Revoked = func(ctx context.Context, _ *jwthttp.Token) (bool, error) {
			hook(ctx)
			return false, nil
		}
		_, _ = mustNew[testClaims](t, opts).Authenticate(get(bearer(goodToken(nil))).WithContext(request))
	}
	type key struct{}
	bubble(t, "it has the request's values and the earlier deadline", func(t *testing.T) {
		request, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "x"), time.Millisecond)
		defer cancel()
		ask(t, request, func(ctx context.Context) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != time.Millisecond || ctx.Value(key{}) != "x" {
				t.Errorf("deadline in %v, %v; value %v", time.Until(deadline), ok, ctx.Value(key{}))
			}
		})
	})
	bubble(t, "it ends at the deadline, for derived contexts too", func(t *testing.T) {
		ask(t, t.Context(), func(ctx context.Context) {
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			start := time.Now()
			<-derived.Done()
			if took := time.Since(start); took != time.Second || ctx.Err() != context.DeadlineExceeded || derived.Err() != context.DeadlineExceeded {
				t.Errorf("after %v: %v, %v", took, ctx.Err(), derived.Err())
			}
		})
	})
	bubble(t, "it has ended when Err says so", func(t *testing.T) {
		ask(t, t.Context(), func(ctx context.Context) {
			if err := ctx.Err(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			if ctx.Err() != context.DeadlineExceeded {
				t.Error(ctx.Err())
			}
			<-ctx.Done()
		})
	})
	bubble(t, "it keeps the reason for its end", func(t *testing.T) {
		request, hangUp := context.WithCancel(t.Context())
		ask(t, request, func(ctx context.Context) {
			<-ctx.Done()
			hangUp()
			if ctx.Err() != context.DeadlineExceeded {
				t.Error(ctx.Err())
			}
		})
	})
	bubble(t, "it ends with the request", func(t *testing.T) {
		request, hangUp := context.WithCancel(t.Context())
		ask(t, request, func(ctx context.Context) {
			hangUp()
			<-ctx.Done()
			if ctx.Err() != context.Canceled {
				t.Error(ctx.Err())
			}
		})
	})
	for _, early := range []bool{false, true} {
		bubble(t, fmt.Sprint("it ends with the hook's answer, asked for Done before: ", early), func(t *testing.T) {
			var kept context.Context
			ask(t, t.Context(), func(ctx context.Context) {
				if kept = ctx; early {
					_ = ctx.Done()
				}
			})
			if kept.Err() != context.Canceled {
				t.Error(kept.Err())
			}
			<-kept.Done()
			if kept.Err() != context.Canceled || time.Now().Unix() != bubbleStart {
				t.Errorf("%v at %v", kept.Err(), time.Now())
			}
		})
	}
}

// Hanging up makes the hook fail, and must not make FailOpen admit.
func TestAClientThatHangsUpGainsNothingFromFailOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, hangUp := context.WithCancel(context.Background())
		opts := options()
		opts.FailOpen = true
		opts.Revoked = func(ctx context.Context, _ *jwthttp.Token) (bool, error) {
			hangUp()
			<-ctx.Done()
			return false, ctx.Err()
		}
		r := get(bearer(goodToken(nil))).WithContext(ctx)
		if got := verdict(mustNew[testClaims](t, opts), r); got != unavailable {
			t.Errorf("verdict %q", got)
		}
	})
}

func TestARequestThatEndedIsNotAdmittedOnTheHooksWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		opts := options()
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { cancel(); return false, nil }
		if got := verdict(mustNew[testClaims](t, opts), get(bearer(goodToken(nil))).WithContext(ctx)); got != unavailable {
			t.Errorf("verdict %q", got)
		}
	})
}

func TestAnUncheckedTokenThatIsRefusedIsNotAdmittedUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := options()
		opts.FailOpen = true
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("down") }
		var events []jwthttp.Event
		opts.Observer = func(_ *http.Request, e jwthttp.Event) { events = append(events, e) }
		m := mustNew[testClaims](t, opts)
		serve(m.RequireScopes("a"), get(bearer(goodToken(nil))))
		nest(get(bearer(goodToken(nil))), m.Handler, m.Handler)
		if len(events) != 3 || events[0].Unchecked || !events[1].Unchecked || !events[2].Unchecked {
			t.Errorf("events %+v", events)
		}
	})
}
