package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// watchedClaims object when the test says so.
type watchedClaims struct{ jwt.RegisteredClaims }

var objection atomic.Pointer[func() error]

func (watchedClaims) Validate() error {
	if f := objection.Load(); f != nil {
		return (*f)()
	}
	return nil
}

func TestWatch(t *testing.T) {
	const every = 30 * time.Second
	var revoked atomic.Bool
	var trouble atomic.Pointer[error]
	hook := func(context.Context, *jwthttp.Token) (bool, error) {
		if err := trouble.Load(); err != nil {
			return false, *err
		}
		return revoked.Load(), nil
	}
	var key atomic.Pointer[[]byte]
	base := func() jwthttp.Options {
		iss := newIssuer()
		iss.MaxAge = 2 * time.Hour
		iss.Keys = jwthttp.Keyfunc(func(*jwt.Token) (any, error) {
			if k := key.Load(); k != nil {
				return *k, nil
			}
			return nil, jwthttp.ErrKeysUnavailable
		})
		opts := newOptions(iss)
		opts.Leeway, opts.Revoked = 5*time.Second, hook
		return opts
	}
	failOpen := func(o *jwthttp.Options) { o.FailOpen = true }
	gone := errors.New("gone")
	for _, tt := range []struct {
		name   string
		change func(*jwthttp.Options)
		derive func(*jwthttp.Middleware) *jwthttp.Middleware
		claims map[string]any
		event  func() // after a minute and a bit
		within time.Duration
		want   string // verdict of the cause; "": does not end within two hours
	}{
		{name: "nothing happens", claims: map[string]any{"exp": bubbleStart + 86400, "iat": bubbleStart + 1}},
		{name: "expiry, to the moment, with leeway", claims: map[string]any{"exp": bubbleStart + 100}, within: 100*time.Second + 5*time.Second, want: "401 invalid_token expired"},
		{name: "expiry between two looks", claims: map[string]any{"exp": bubbleStart + 70.25}, within: 75*time.Second + 250*time.Millisecond, want: "401 invalid_token expired"},
		{name: "revoked", event: func() { revoked.Store(true) }, within: 90 * time.Second, want: "401 invalid_token revoked"},
		{name: "the key is withdrawn", event: func() { other := []byte(strings.Repeat("x", 32)); key.Store(&other) }, within: 90 * time.Second, want: "401 invalid_token signature"},
		{name: "the keys are out of reach", event: func() { key.Store(nil) }, within: 90 * time.Second, want: "503 keys_unavailable"},
		{name: "the revocation store is out of reach", event: func() { trouble.Store(&gone) }, within: 90 * time.Second, want: "503 revocation_unavailable"},
		{name: "the same, and it fails open", change: failOpen, event: func() { trouble.Store(&gone) }, claims: map[string]any{"exp": bubbleStart + 86400, "iat": bubbleStart + 1}},
		{name: "too old for its issuer", claims: map[string]any{"iat": bubbleStart - 7000, "exp": bubbleStart + 86400}, within: 210 * time.Second, want: "401 invalid_token too_old"},
		{name: "authenticated too long ago", derive: func(m *jwthttp.Middleware) *jwthttp.Middleware {
			return m.RequireAuthentication(level{MaxAge: time.Minute})
		}, claims: map[string]any{"auth_time": bubbleStart}, within: 90 * time.Second, want: "401 insufficient_user_authentication authentication"},
		{name: "Validate objects", event: func() { f := func() error { return errors.New("no more") }; objection.Store(&f) }, within: 90 * time.Second, want: "401 invalid_token claims"},
		{name: "a scope that the Handler did not ask for", derive: func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireScopes("a") }, within: 0, want: "403 insufficient_scope scope"},
	} {
		for cached := range 2 {
			bubble(t, fmt.Sprintf("%s, cache %d", tt.name, cached), func(t *testing.T) {
				revoked.Store(false)
				trouble.Store(nil)
				objection.Store(nil)
				key.Store(&secret)
				opts := base()
				opts.CacheSize = cached * 8
				if tt.change != nil {
					tt.change(&opts)
				}
				m := mustNew[watchedClaims](t, opts)
				ctx, cancel := context.WithCancel(serve(m, newRequest(withBearer(goodToken(tt.claims)))).inner.Context())
				defer synctest.Wait() // its goroutine ends, or the bubble complains
				defer cancel()
				if tt.derive != nil {
					m = tt.derive(m)
				}
				start := time.Now()
				ctx = m.Watch(ctx, every)
				if tt.event != nil {
					time.AfterFunc(61*time.Second, tt.event)
				}
				select {
				case <-ctx.Done():
				case <-time.After(2*time.Hour - 5*time.Second):
				}
				took := time.Since(start)
				switch {
				case tt.want == "" && ctx.Err() != nil:
					t.Errorf("ended after %v: %v", took, context.Cause(ctx))
				case tt.want == "":
				case ctx.Err() == nil:
					t.Error("did not end")
				case verdictOf(context.Cause(ctx)) != tt.want || took != tt.within:
					t.Errorf("ended after %v: %v; want %v, %s", took, context.Cause(ctx), tt.within, tt.want)
				}
			})
		}
	}
}

func TestWatchOfOtherContexts(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	bubble(t, "no authentication at all", func(t *testing.T) {
		ctx := m.Watch(t.Context(), time.Minute)
		if got := verdictOf(context.Cause(ctx)); got != "401 missing" || ctx.Err() == nil {
			t.Errorf("%q", got)
		}
	})
	bubble(t, "a Token put there for a test, and another family's authentication", func(t *testing.T) {
		other := mustNew[testClaims](t, newOptions())
		ctx := jwthttp.ContextWithToken(serve(other, newRequest(withBearer(goodToken(nil)))).inner.Context(), &jwthttp.Token{Subject: "x"})
		if got := verdictOf(context.Cause(m.Watch(ctx, time.Minute))); got != "401 missing" {
			t.Errorf("%q", got)
		}
	})
	bubble(t, "a visitor", func(t *testing.T) {
		inner := serve(m.Optional(), newRequest()).inner.Context()
		ctx, cancel := context.WithCancel(inner)
		watched := m.Optional().Watch(ctx, time.Minute)
		time.Sleep(time.Hour)
		if watched.Err() != nil {
			t.Errorf("ended: %v", context.Cause(watched))
		}
		if got := verdictOf(context.Cause(m.Watch(ctx, time.Minute))); got != "401 missing" {
			t.Errorf("where a token is required: %q", got)
		}
		cancel()
	})
	bubble(t, "the request ends first", func(t *testing.T) {
		over := errors.New("over")
		ctx, cancel := context.WithCancelCause(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context())
		watched := m.Watch(ctx, time.Minute)
		cancel(over)
		<-watched.Done()
		if got := context.Cause(watched); !errors.Is(got, over) {
			t.Errorf("cause %v", got)
		}
		if _, ok := jwthttp.TokenFromContext(watched); !ok {
			t.Error("the Token is gone")
		}
	})
	for name, tt := range map[string]struct{ every, want time.Duration }{
		"zero is ten seconds":          {0, 10 * time.Second},
		"a negative time is the same":  {-time.Hour, 10 * time.Second},
		"a time longer than the token": {24 * time.Hour, time.Hour},
	} {
		bubble(t, name, func(t *testing.T) {
			var looks []time.Duration
			start := time.Now()
			opts := newOptions()
			opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) {
				looks = append(looks, time.Since(start))
				return len(looks) > 2, nil
			}
			m := mustNew[testClaims](t, opts)
			ctx, cancel := context.WithCancel(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context())
			defer cancel()
			<-m.Watch(ctx, tt.every).Done()
			if tt.want == time.Hour && time.Since(start) != time.Hour || tt.want < time.Hour && looks[1] != tt.want {
				t.Errorf("looked after %v, ended after %v", looks, time.Since(start))
			}
		})
	}
}

func TestWatchOfATokenWithoutExpiryLooksNoMoreOftenThanItShould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := -1 // but for the Handler's
		iss := newIssuer()
		iss.NoExpiry = true
		opts := newOptions(iss)
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) {
			looks++
			return looks > 60, nil
		}
		m := mustNew[testClaims](t, opts)
		start := time.Now()
		ctx := m.Watch(serve(m, newRequest(withBearer(goodToken(map[string]any{"exp": nil})))).inner.Context(), time.Minute)
		<-ctx.Done()
		if took := time.Since(start); took != 61*time.Minute {
			t.Errorf("%d looks in %v", looks, took)
		}
	})
}

// A handler that has written nothing yet may answer with the cause.
func TestTheCauseOfWatchIsAWholeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Realm = "ours"
		opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
			return token.ID == "revoked" && time.Now().Unix() > bubbleStart+30, nil
		}
		m := mustNew[testClaims](t, opts)
		for _, tt := range []struct {
			m  *jwthttp.Middleware
			id string
		}{{m.RequireScopes("a"), "scope"}, {m, "revoked"}, {m, "expires"}} {
			inner := serve(m, newRequest(withBearer(goodToken(map[string]any{"jti": tt.id, "exp": bubbleStart + 7000})))).inner.Context()
			every := 24 * time.Hour // so that it is the expiry that ends it
			if tt.id == "revoked" {
				every = time.Minute
			}
			ctx := tt.m.Watch(inner, every)
			<-ctx.Done()
			var e *jwthttp.Error
			if !errors.As(context.Cause(ctx), &e) {
				t.Fatal(context.Cause(ctx))
			}
			w := httptest.NewRecorder()
			jwthttp.WriteError(w, e)
			if got := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer realm="ours", error="`+e.Code) {
				t.Errorf("challenge %q", got)
			}
		}
	})
}

// What takes its time must not keep an expired token alive.
func TestExpiryWaitsForNoHook(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hangs func(*jwthttp.Options, func())
	}{
		{"a KeySource", func(o *jwthttp.Options, hang func()) {
			o.Issuers[0].Keys = jwthttp.Keyfunc(func(*jwt.Token) (any, error) { hang(); return secret, nil })
		}},
		{"a revocation hook", func(o *jwthttp.Options, hang func()) {
			o.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { hang(); return false, nil }
		}},
		{"a revocation hook, and it fails open", func(o *jwthttp.Options, hang func()) {
			o.FailOpen, o.RevocationTimeout = true, time.Minute
			o.Revoked = func(ctx context.Context, _ *jwthttp.Token) (bool, error) { hang(); return false, ctx.Err() }
		}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var watching atomic.Bool
			opts := newOptions()
			tt.hangs(&opts, func() {
				if watching.Load() {
					time.Sleep(24 * time.Hour)
				}
			})
			m := mustNew[testClaims](t, opts)
			start := time.Now()
			inner := serve(m, newRequest(withBearer(goodToken(map[string]any{"exp": bubbleStart + 100})))).inner.Context()
			watching.Store(true)
			ctx := m.Watch(inner, 30*time.Second)
			<-ctx.Done()
			if took := time.Since(start); took != 100*time.Second || verdictOf(context.Cause(ctx)) != "401 invalid_token expired" {
				t.Errorf("after %v: %v", took, context.Cause(ctx))
			}
			time.Sleep(25 * time.Hour) // for the hook to come back
		})
	}
}

func TestAForgottenUnitIsAMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		opts := newOptions()
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { looks++; return looks > 10, nil }
		m := mustNew[testClaims](t, opts)
		start := time.Now()
		<-m.Watch(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context(), 30).Done()
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("%d looks in %v", looks, took)
		}
	})
}

// The hook is asked as for a request: with a context that ends with it, and the
// place where the token was.
func TestWhatTheHookOfAWatchIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FromCookie("t")
		looks, over := 0, make(chan error, 1)
		opts.Revoked = func(ctx context.Context, token *jwthttp.Token) (bool, error) {
			if token.Source != jwthttp.SourceCookie {
				t.Errorf("source %v", token.Source)
			}
			if looks++; looks == 2 {
				<-ctx.Done()
				over <- context.Cause(ctx)
			}
			return false, nil
		}
		m := mustNew[testClaims](t, opts)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(serve(m, newRequest(withField("Cookie", "t="+goodToken(nil)))).inner.Context())
		m.Watch(ctx, time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel(gone)
		if got := <-over; !errors.Is(got, gone) {
			t.Errorf("the hook's context ended for %v", got)
		}
	})
}

// On a goroutine of its own, a panic would end the program.
func TestAPanicEndsWhatIsWatched(t *testing.T) {
	bubble(t, "runtime.Goexit", func(t *testing.T) {
		objection.Store(nil)
		m := mustNew[watchedClaims](t, newOptions())
		watched := m.Watch(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context(), time.Minute)
		f := func() error { runtime.Goexit(); return nil }
		objection.Store(&f)
		time.Sleep(2 * time.Minute)
		if got := context.Cause(watched); got == nil || !strings.Contains(got.Error(), "a hook has ended the goroutine") {
			t.Errorf("cause %v", got)
		}
		objection.Store(nil)
		time.Sleep(time.Hour)
	})
	bubble(t, "panic", func(t *testing.T) {
		objection.Store(nil)
		m := mustNew[watchedClaims](t, newOptions())
		ctx, cancel := context.WithCancel(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context())
		defer cancel()
		watched := m.Watch(ctx, time.Minute)
		f := func() error { panic("oops") }
		objection.Store(&f)
		<-watched.Done()
		if got := context.Cause(watched).Error(); !strings.Contains(got, "panic: oops") || !strings.Contains(got, "TestAPanicEndsWhatIsWatched.func") {
			t.Errorf("cause %q", got)
		}
		objection.Store(nil)
	})
}

// The query of a request is gone by then; the token is not.
func TestWatchKnowsTheTokenWhereverItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FirstOf(jwthttp.FromQuery("t"), jwthttp.FromCookie("t"))
		m := mustNew[testClaims](t, opts)
		for name, change := range map[string]func(token string) func(*http.Request){
			"query":  func(token string) func(*http.Request) { return withQuery("t=" + token) },
			"cookie": func(token string) func(*http.Request) { return withField("Cookie", "t="+token) },
		} {
			start := time.Now()
			token := goodToken(map[string]any{"exp": start.Unix() + 90})
			ctx := m.Watch(serve(m, newRequest(change(token))).inner.Context(), time.Minute)
			<-ctx.Done()
			if got := verdictOf(context.Cause(ctx)); got != "401 invalid_token expired" || time.Since(start) != 90*time.Second {
				t.Errorf("%s: after %v: %q", name, time.Since(start), got)
			}
		}
	})
}
