package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
)

const (
	revoked     = "401 invalid_token revoked"
	unavailable = "503 revocation_unavailable"
)

// Rule 40
func TestOptions_revoked(t *testing.T) {
	answer := func(revoked bool, err error) jwthttp.RevokedFunc {
		return func(context.Context, *jwthttp.Token) (bool, error) { return revoked, err }
	}
	late := func(revoked bool, after time.Duration) jwthttp.RevokedFunc {
		return func(context.Context, *jwthttp.Token) (bool, error) { time.Sleep(after); return revoked, nil }
	}
	panicking := func(v any) jwthttp.RevokedFunc {
		return func(context.Context, *jwthttp.Token) (bool, error) { panic(v) }
	}
	heeding := func(ctx context.Context, _ *jwthttp.Token) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	for _, tt := range []struct {
		name         string
		hook         jwthttp.RevokedFunc
		closed, open string // the verdict without and with RevocationFailOpen
	}{
		{"not revoked", answer(false, nil), admitted, admitted},
		{"revoked", answer(true, nil), revoked, revoked},
		{"failed", answer(false, errors.New("store out of reach")), unavailable, admitted},
		{"failed, and says revoked", answer(true, errors.New("store out of reach")), unavailable, revoked},
		{"ErrRevoked as an error", answer(false, fmt.Errorf("store: %w", jwthttp.ErrRevoked)), revoked, revoked},
		{"context.Canceled without a client that hung up", answer(false, context.Canceled), unavailable, admitted},
		{"panics", panicking("nil map"), unavailable, admitted},
		{"panics with ErrRevoked", panicking(jwthttp.ErrRevoked), unavailable, admitted},
		{"panics with http.ErrAbortHandler", panicking(http.ErrAbortHandler), unavailable, admitted},
		{"heeds the deadline", heeding, unavailable, admitted},
		{"just in time", late(false, time.Second-1), admitted, admitted},
		{"at the deadline: not revoked", late(false, time.Second), unavailable, admitted},
		{"after the deadline: not revoked", late(false, time.Minute), unavailable, admitted},
		{"after the deadline: revoked", late(true, time.Minute), unavailable, revoked},
	} {
		for _, failOpen := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, fail open %v", tt.name, failOpen), func(t *testing.T) {
				opts := newOptions()
				opts.Revoked, opts.RevocationFailOpen = tt.hook, failOpen
				unchecked := false
				opts.Observer = func(_ context.Context, e jwthttp.Event) { unchecked = e.Unchecked }
				want := tt.closed
				if failOpen {
					want = tt.open
				}
				checkVerdict(t, mustNew[testClaims](t, opts), newRequest(withBearer(goodToken(nil))), want)
				if wantUnchecked := tt.closed == unavailable && want == admitted; unchecked != wantUnchecked {
					t.Errorf("Event.Unchecked %v, want %v", unchecked, wantUnchecked)
				}
			})
		}
	}
}

func TestOptions_revoked_calls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, caller := 0, goroutine()
		opts := newOptions()
		opts.CacheSize = 8
		opts.RevocationTimeout = 3 * time.Second
		opts.Revoked = func(ctx context.Context, token *jwthttp.Token) (bool, error) {
			calls++
			if got := goroutine(); got != caller {
				t.Errorf("called on %s, the request is on %s", got, caller)
			}
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 3*time.Second {
				t.Errorf("deadline %v, %v", deadline, ok)
			}
			if token.Raw() == "" || token.Subject != "alice" || token.Source != jwthttp.SourceHeader {
				t.Errorf("token %v", token)
			}
			return false, nil
		}
		m := mustNew[testClaims](t, opts)
		for _, bad := range []string{
			altered(goodToken(nil)), goodToken(map[string]any{"exp": 1}), goodToken(map[string]any{"cnf": 1}), goodToken(map[string]any{"role": 1}),
		} {
			_ = verdict(m, newRequest(withBearer(bad)))
		}
		if calls != 0 {
			t.Errorf("called %d times about refused tokens", calls)
		}
		for want := range 3 { // a cached token, too
			if calls != want {
				t.Errorf("called %d times about a good one", calls)
			}
			_ = verdict(m, newRequest(withBearer(goodToken(nil))))
		}
	})
}

// goroutine returns the name of the current goroutine in a stack trace.
func goroutine() string {
	stack := make([]byte, 64)
	name, _, _ := strings.Cut(string(stack[:runtime.Stack(stack, false)]), " [")
	return name
}

func TestOptions_revoked_context(t *testing.T) {
	call := func(t *testing.T, request context.Context, hook func(context.Context)) {
		t.Helper()
		opts := newOptions()
		opts.Revoked = func(ctx context.Context, _ *jwthttp.Token) (bool, error) {
			hook(ctx)
			return false, nil
		}
		_, _ = mustNew[testClaims](t, opts).Authenticate(newRequest(withBearer(goodToken(nil))).WithContext(request))
	}
	type key struct{}
	bubble(t, "it has the request's values and the earlier deadline", func(t *testing.T) {
		request, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "x"), time.Millisecond)
		defer cancel()
		call(t, request, func(ctx context.Context) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != time.Millisecond || ctx.Value(key{}) != "x" {
				t.Errorf("deadline in %v, %v; value %v", time.Until(deadline), ok, ctx.Value(key{}))
			}
		})
	})
	bubble(t, "it ends at the deadline, for derived contexts too", func(t *testing.T) {
		call(t, t.Context(), func(ctx context.Context) {
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			start := time.Now()
			<-derived.Done()
			if took := time.Since(start); took != time.Second || ctx.Err() != context.DeadlineExceeded || derived.Err() != context.DeadlineExceeded {
				t.Errorf("after %v: %v, %v", took, ctx.Err(), derived.Err())
			}
		})
	})
	bubble(t, "it ends with the request", func(t *testing.T) {
		request, hangUp := context.WithCancel(t.Context())
		call(t, request, func(ctx context.Context) {
			hangUp()
			<-ctx.Done()
			if ctx.Err() != context.Canceled {
				t.Error(ctx.Err())
			}
		})
	})
	bubble(t, "it ends with the hook's answer", func(t *testing.T) {
		var kept context.Context
		call(t, t.Context(), func(ctx context.Context) { kept = ctx })
		<-kept.Done()
		if kept.Err() != context.Canceled || time.Now().Unix() != bubbleStart {
			t.Errorf("%v at %v", kept.Err(), time.Now())
		}
	})
}

// The panic of a hook is for logs.
func TestOptions_revoked_cause(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook jwthttp.RevokedFunc
		is   error
		text string
	}{
		{"a panic", func(context.Context, *jwthttp.Token) (bool, error) { panic("nil map") }, nil, "nil map"},
		{"an error", func(context.Context, *jwthttp.Token) (bool, error) { return false, errNoStore }, errNoStore, "no store"},
		{"a late answer", func(ctx context.Context, _ *jwthttp.Token) (bool, error) { <-ctx.Done(); return false, nil }, context.DeadlineExceeded, "deadline"},
		{"a revocation", func(context.Context, *jwthttp.Token) (bool, error) { return true, nil }, jwthttp.ErrRevoked, "revoked"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Revoked = tt.hook
			m := mustNew[testClaims](t, opts)
			_, err := m.Authenticate(newRequest(withBearer(goodToken(nil))))
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v", err)
			}
			if body := serve(m, newRequest(withBearer(goodToken(nil)))).Body.String(); strings.Contains(body, "nil map") || strings.Contains(body, "no store") {
				t.Errorf("the client sees %s", body)
			}
		})
	}
}

var errNoStore = errors.New("no store")

func TestEvent_unchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.RevocationFailOpen = true
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("down") }
		var got []bool
		opts.Observer = func(_ context.Context, e jwthttp.Event) { got = append(got, e.Unchecked) }
		m := mustNew[testClaims](t, opts)
		serve(m.RequireScopes("a"), newRequest(withBearer(goodToken(nil))))
		nest(newRequest(withBearer(goodToken(nil))), m.Handler, m.Handler)
		if want := []bool{false, true, true}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Unchecked %v, want %v: a refused token was not admitted unchecked", got, want)
		}
	})
}
