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

// watchedClaims are invalid if the test says so.
type watchedClaims struct{ jwt.RegisteredClaims }

var objection atomic.Pointer[func() error]

func (watchedClaims) Validate() error {
	if f := objection.Load(); f != nil {
		return (*f)()
	}
	return nil
}

func TestMiddleware_Watch(t *testing.T) {
	const every = 30 * time.Second
	var revoked atomic.Bool
	var failure atomic.Pointer[error]
	hook := func(context.Context, *jwthttp.Token) (bool, error) {
		if err := failure.Load(); err != nil {
			return false, *err
		}
		return revoked.Load(), nil
	}
	var key atomic.Pointer[[]byte]
	base := func() jwthttp.Options {
		iss := newIssuer()
		iss.MaxTokenAge = 2 * time.Hour
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
	failOpen := func(o *jwthttp.Options) { o.RevocationFailOpen = true }
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
		{name: "expiry between two checks", claims: map[string]any{"exp": bubbleStart + 70.25}, within: 75*time.Second + 250*time.Millisecond, want: "401 invalid_token expired"},
		{name: "revoked", event: func() { revoked.Store(true) }, within: 90 * time.Second, want: "401 invalid_token revoked"},
		{name: "the key is withdrawn", event: func() { other := []byte(strings.Repeat("x", 32)); key.Store(&other) }, within: 90 * time.Second, want: "401 invalid_token signature"},
		{name: "the keys are out of reach", event: func() { key.Store(nil) }, within: 90 * time.Second, want: "503 keys_unavailable"},
		{name: "the revocation store is out of reach", event: func() { failure.Store(&gone) }, within: 90 * time.Second, want: "503 revocation_unavailable"},
		{name: "the same, and it fails open", change: failOpen, event: func() { failure.Store(&gone) }, claims: map[string]any{"exp": bubbleStart + 86400, "iat": bubbleStart + 1}},
		{name: "too old for its issuer", claims: map[string]any{"iat": bubbleStart - 7000, "exp": bubbleStart + 86400}, within: 210 * time.Second, want: "401 invalid_token too_old"},
		{name: "authenticated too long ago", derive: func(m *jwthttp.Middleware) *jwthttp.Middleware {
			return m.RequireAuthAge(time.Minute)
		}, claims: map[string]any{"auth_time": bubbleStart}, within: 90 * time.Second, want: "401 insufficient_user_authentication authentication"},
		{name: "Validate fails", event: func() { f := func() error { return errors.New("no more") }; objection.Store(&f) }, within: 90 * time.Second, want: "401 invalid_token claims"},
		{name: "an acr that the Handler did not require", derive: func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireACR("gold") }, within: 0, want: weak},
		{name: "anonymous, with a scope that the Handler did not require", derive: func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireScopes("a").AllowAnonymous() }, within: 0, want: "403 insufficient_scope scope"},
		{name: "revoked, anonymous", derive: (*jwthttp.Middleware).AllowAnonymous, event: func() { revoked.Store(true) }, within: 90 * time.Second, want: "401 invalid_token revoked"},
		{name: "a rule is not called again", derive: func(m *jwthttp.Middleware) *jwthttp.Middleware {
			return m.Require(refusing(errors.New("no")))
		}, claims: map[string]any{"exp": bubbleStart + 86400, "iat": bubbleStart + 1}},
		{name: "a scope that the Handler did not require", derive: func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireScopes("a") }, within: 0, want: "403 insufficient_scope scope"},
	} {
		for cached := range 2 {
			bubble(t, fmt.Sprintf("%s, cache %d", tt.name, cached), func(t *testing.T) {
				revoked.Store(false)
				failure.Store(nil)
				objection.Store(nil)
				key.Store(&secret)
				opts := base()
				opts.CacheSize = cached * 8
				if tt.change != nil {
					tt.change(&opts)
				}
				m := mustNew[watchedClaims](t, opts)
				ctx, cancel := context.WithCancel(serve(m, newRequest(withBearer(goodToken(tt.claims)))).inner.Context())
				defer synctest.Wait() // its goroutine ends, or the bubble reports a deadlock
				defer cancel()
				if tt.derive != nil {
					m = tt.derive(m)
				}
				start := time.Now()
				ctx, stop := m.Watch(ctx, every)
				defer stop()
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

func TestMiddleware_Watch_contexts(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	watchCause := func(m *jwthttp.Middleware, ctx context.Context) string {
		watched, cancel := m.Watch(ctx, time.Minute)
		defer cancel()
		if watched.Err() == nil {
			return "not ended"
		}
		return verdictOf(context.Cause(watched))
	}
	bubble(t, "no Handler", func(t *testing.T) {
		for _, tt := range []struct {
			name string
			m    *jwthttp.Middleware
			want string
		}{{"plain", m, missing}, {"scopes", m.RequireScopes("a"), missing}, {"optional", m.Optional(), missing}, {"anonymous", m.AllowAnonymous(), missing}} {
			if got := watchCause(tt.m, t.Context()); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	})
	bubble(t, "a Token put there for a test, and the admission of another New", func(t *testing.T) {
		other := mustNew[testClaims](t, newOptions())
		ctx := jwthttp.ContextWithToken(serve(other, newRequest(withBearer(goodToken(nil)))).inner.Context(), &jwthttp.Token{Subject: "x"})
		if got := watchCause(m, ctx); got != missing {
			t.Errorf("%q", got)
		}
	})
	bubble(t, "a visitor", func(t *testing.T) {
		ctx, cancel := context.WithCancel(serve(m.Optional(), newRequest()).inner.Context())
		watched, stop := m.Optional().Watch(ctx, time.Minute)
		defer stop()
		time.Sleep(time.Hour)
		if watched.Err() != nil {
			t.Errorf("ended: %v", context.Cause(watched))
		}
		if got := watchCause(m, ctx); got != missing {
			t.Errorf("where a token is required: %q", got)
		}
		cancel()
		if watched.Err() != context.Canceled {
			t.Errorf("after the end of ctx: %v", watched.Err())
		}
	})
	bubble(t, "the context of Verify", func(t *testing.T) {
		ctx, err := m.Verify(t.Context(), goodToken(map[string]any{"exp": bubbleStart + 60}))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		watched, stop := m.Watch(ctx, time.Hour)
		defer stop()
		<-watched.Done()
		if got := verdictOf(context.Cause(watched)); got != "401 invalid_token expired" || time.Since(start) != 90*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
	})
	bubble(t, "the request ends first", func(t *testing.T) {
		over := errors.New("over")
		ctx, cancel := context.WithCancelCause(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context())
		watched, stop := m.Watch(ctx, time.Minute)
		defer stop()
		cancel(over)
		<-watched.Done()
		if got := context.Cause(watched); !errors.Is(got, over) {
			t.Errorf("cause %v", got)
		}
		if _, ok := jwthttp.TokenFromContext(watched); !ok {
			t.Error("the Token is gone")
		}
	})
}

func TestMiddleware_Watch_interval(t *testing.T) {
	for _, tt := range []struct {
		name        string
		every, want time.Duration
	}{
		{"zero is ten seconds", 0, 10 * time.Second},
		{"a negative time is the same", -time.Hour, 10 * time.Second},
		{"a minute", time.Minute, time.Minute},
		{"a forgotten unit is a millisecond", 30, time.Millisecond},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			checks := -1 // without the Handler's
			iss := newIssuer()
			iss.NoExpiry = true
			opts := newOptions(iss)
			opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { checks++; return checks > 60, nil }
			m := mustNew[testClaims](t, opts)
			start := time.Now()
			watched, stop := m.Watch(serve(m, newRequest(withBearer(goodToken(map[string]any{"exp": nil})))).inner.Context(), tt.every)
			defer stop()
			<-watched.Done()
			if took := time.Since(start); took != 61*tt.want {
				t.Errorf("%d checks in %v", checks, took)
			}
		})
	}
	bubble(t, "longer than the token lives", func(t *testing.T) {
		m := mustNew[testClaims](t, newOptions())
		start := time.Now()
		watched, stop := m.Watch(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context(), 24*time.Hour)
		defer stop()
		<-watched.Done()
		if took := time.Since(start); took != time.Hour+30*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

// watchers returns the number of goroutines that Watch and the contexts of this
// bubble have started.
func watchers() int {
	synctest.Wait()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "created by github.com/seed450a7203/jwthttp.(*Middleware).Watch ") || strings.Contains(stack, "created by context.") {
			n++
		}
	}
	return n
}

// One goroutine watches, and none is left after any end.
func TestMiddleware_Watch_goroutines(t *testing.T) {
	for _, tt := range []struct {
		name  string
		end   func(watched context.Context, stop, cancel context.CancelFunc)
		cause error // nil: an *Error
	}{
		{"the returned function is called", func(_ context.Context, stop, _ context.CancelFunc) { stop() }, context.Canceled},
		{"the returned function is called twice", func(_ context.Context, stop, _ context.CancelFunc) { stop(); stop() }, context.Canceled},
		{"ctx ends", func(_ context.Context, _, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"the token expires", func(watched context.Context, _, _ context.CancelFunc) { <-watched.Done() }, nil},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			m := mustNew[testClaims](t, newOptions())
			ctx, cancel := context.WithCancel(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context())
			watched, stop := m.Watch(ctx, time.Minute)
			if got := watchers(); got != 1 {
				t.Errorf("%d goroutines started", got)
			}
			tt.end(watched, stop, cancel)
			if got := watchers(); got != 0 {
				t.Errorf("%d goroutines are left", got)
			}
			cause := context.Cause(watched)
			var e *jwthttp.Error
			if tt.cause != nil && !errors.Is(cause, tt.cause) || tt.cause == nil && !errors.As(cause, &e) {
				t.Errorf("cause %v", cause)
			}
			if watched.Err() == nil {
				t.Error("the context has not ended")
			}
			stop()
			cancel()
		})
	}
	bubble(t, "an ended context needs no goroutine", func(t *testing.T) {
		m := mustNew[testClaims](t, newOptions())
		_, stop := m.Watch(t.Context(), time.Minute)
		_, stop2 := m.Optional().Watch(serve(m.Optional(), newRequest()).inner.Context(), time.Minute)
		if got := watchers(); got != 0 {
			t.Errorf("%d goroutines started", got)
		}
		stop()
		stop2()
	})
}

// A handler that has written nothing yet may answer with the cause.
func TestMiddleware_Watch_cause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Realm = "ours"
		opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
			return token.ID == "revoked" && time.Now().Unix() > bubbleStart+30, nil
		}
		m := mustNew[testClaims](t, opts)
		for _, tt := range []struct {
			m     *jwthttp.Middleware
			id    string
			every time.Duration
		}{
			{m.RequireScopes("a"), "scope", 24 * time.Hour}, {m, "revoked", time.Minute}, {m, "expires", 24 * time.Hour},
		} {
			inner := serve(m, newRequest(withBearer(goodToken(map[string]any{"jti": tt.id, "exp": bubbleStart + 7000})))).inner.Context()
			ctx, stop := tt.m.Watch(inner, tt.every)
			defer stop()
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

// A slow KeySource or hook must not keep an expired token alive.
func TestMiddleware_Watch_slowHooks(t *testing.T) {
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
		{"a revocation hook that fails open", func(o *jwthttp.Options, hang func()) {
			o.RevocationFailOpen, o.RevocationTimeout = true, time.Minute
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
			ctx, stop := m.Watch(inner, 30*time.Second)
			defer stop()
			<-ctx.Done()
			if took := time.Since(start); took != 130*time.Second || verdictOf(context.Cause(ctx)) != "401 invalid_token expired" {
				t.Errorf("after %v: %v", took, context.Cause(ctx))
			}
			time.Sleep(25 * time.Hour) // until the hook returns
		})
	}
}

// The hook is called as for a request: with a context that ends with it, and the
// source of the token.
func TestMiddleware_Watch_hookContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FromCookie("t")
		checks, over := 0, make(chan error, 1)
		opts.Revoked = func(ctx context.Context, token *jwthttp.Token) (bool, error) {
			if token.Source != jwthttp.SourceCookie {
				t.Errorf("source %v", token.Source)
			}
			if checks++; checks == 2 {
				<-ctx.Done()
				over <- context.Cause(ctx)
			}
			return false, nil
		}
		m := mustNew[testClaims](t, opts)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(serve(m, newRequest(withField("Cookie", "t="+goodToken(nil)))).inner.Context())
		_, stop := m.Watch(ctx, time.Minute)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel(gone)
		if got := <-over; !errors.Is(got, gone) {
			t.Errorf("the hook's context ended for %v", got)
		}
	})
}

// On another goroutine, a panic would end the program.
func TestMiddleware_Watch_panic(t *testing.T) {
	bubble(t, "runtime.Goexit", func(t *testing.T) {
		objection.Store(nil)
		m := mustNew[watchedClaims](t, newOptions())
		watched, stop := m.Watch(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context(), time.Minute)
		defer stop()
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
		watched, stop := m.Watch(ctx, time.Minute)
		defer stop()
		f := func() error { panic("oops") }
		objection.Store(&f)
		<-watched.Done()
		if got := context.Cause(watched).Error(); !strings.Contains(got, "panic: oops") || !strings.Contains(got, "TestMiddleware_Watch_panic.func") {
			t.Errorf("cause %q", got)
		}
		objection.Store(nil)
	})
	bubble(t, "a panic of the hook", func(t *testing.T) {
		var watching atomic.Bool
		opts := newOptions()
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) {
			if watching.Load() {
				panic("oops")
			}
			return false, nil
		}
		m := mustNew[testClaims](t, opts)
		watched, stop := m.Watch(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context(), time.Minute)
		defer stop()
		watching.Store(true)
		<-watched.Done()
		if got := verdictOf(context.Cause(watched)); got != unavailable {
			t.Errorf("cause %q", got)
		}
	})
}

// The query token is removed from the request that the handler has, and Watch
// knows it still.
func TestMiddleware_Watch_sources(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request func(token string) func(*http.Request)
	}{
		{"query", func(token string) func(*http.Request) { return withQuery("t=" + token) }},
		{"cookie", func(token string) func(*http.Request) { return withField("Cookie", "t="+token) }},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = jwthttp.FirstOf(jwthttp.FromQuery("t"), jwthttp.FromCookie("t"))
			m := mustNew[testClaims](t, opts)
			start := time.Now()
			token := goodToken(map[string]any{"exp": start.Unix() + 60})
			ctx, stop := m.Watch(serve(m, newRequest(tt.request(token))).inner.Context(), time.Minute)
			defer stop()
			<-ctx.Done()
			if got := verdictOf(context.Cause(ctx)); got != "401 invalid_token expired" || time.Since(start) != 90*time.Second {
				t.Errorf("after %v: %q", time.Since(start), got)
			}
		})
	}
}
