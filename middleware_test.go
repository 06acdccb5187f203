package jwthttp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
)

// Rule 11
func TestHandler_methods(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	for _, name := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"} {
		bubble(t, name, func(t *testing.T) {
			if got := verdict(m, newRequest(withMethod(name))); got != missing {
				t.Errorf("without a token: %q", got)
			}
			if got := verdict(m, newRequest(withMethod(name), withBearer(goodToken(nil)))); got != admitted {
				t.Errorf("with a token: %q", got)
			}
		})
	}
}

// Authenticate returns no request with an error, so that who ignores the error
// does not go on with an unauthenticated request.
func TestMiddleware_Authenticate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromQuery("t"))
		m := mustNew[testClaims](t, opts)
		for _, change := range []func(*http.Request){func(*http.Request) {}, withBearer("garbage"), withQuery("t=garbage")} {
			r, err := m.Authenticate(newRequest(change))
			var e *jwthttp.Error
			if r != nil || !errors.As(err, &e) {
				t.Errorf("request %v, error %v", r, err)
			}
		}
		r, err := m.Authenticate(newRequest(withQuery("a=1&t=" + goodToken(nil))))
		if err != nil || r.URL.RawQuery != "a=1" || jwthttp.MustClaims[testClaims](r.Context()).Role != "editor" {
			t.Errorf("request %v, error %v", r, err)
		}
	})
}

func TestMiddleware_Verify(t *testing.T) {
	bound := map[string]any{"cnf": map[string]any{"jkt": "x"}}
	opts := newOptions()
	opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
		if token.ID == "unknown" {
			return false, errors.New("store is down")
		}
		return token.ID == "revoked", nil
	}
	var events []jwthttp.Event
	opts.Observer = func(_ context.Context, e jwthttp.Event) { events = append(events, e) }
	m := mustNew[testClaims](t, opts)
	for _, tt := range []struct {
		name  string
		m     *jwthttp.Middleware
		token string
		want  string
		err   string // of the Event, if admitted
	}{
		{"a good token", m, goodToken(nil), admitted, ""},
		{"a token with the scopes", m.RequireScopes("a"), goodToken(map[string]any{"scope": "a"}), admitted, ""},
		{"a token without the scopes", m.RequireScopes("a"), goodToken(nil), noScope, ""},
		{"a weak authentication", m.RequireACR("gold"), goodToken(nil), weak, ""},
		{"an old authentication", m.RequireAuthAge(time.Hour), goodToken(map[string]any{"auth_time": 1}), weak, ""},
		{"no token", m, "", missing, ""},
		{"no token, optional", m.Optional(), "", admitted, ""},
		{"no token, anonymous", m.AllowAnonymous(), "", admitted, ""},
		{"no token, optional with scopes", m.Optional().RequireScopes("a"), "", missing, ""},
		{"a bad token, optional", m.Optional(), "garbage", badToken, ""},
		{"a bad token, anonymous", m.AllowAnonymous(), "garbage", admitted, badToken},
		{"a bad token, anonymous with scopes", m.AllowAnonymous().RequireScopes("a"), "garbage", badToken, ""},
		{"an expired token", m, goodToken(map[string]any{"exp": 1}), "401 invalid_token expired", ""},
		{"a forged token", m, altered(goodToken(nil)), "401 invalid_token signature", ""},
		{"a revoked token", m, goodToken(map[string]any{"jti": "revoked"}), "401 invalid_token revoked", ""},
		{"a failing hook", m, goodToken(map[string]any{"jti": "unknown"}), "503 revocation_unavailable", ""},
		{"a bound token", m, goodToken(bound), "401 invalid_token binding", ""},
		{"claims that do not decode", m, goodToken(map[string]any{"role": 1}), "401 invalid_token claims", ""},
		{"a blank at the end", m, goodToken(nil) + " ", badToken, ""},
		{"a scheme", m, "Bearer " + goodToken(nil), badToken, ""},
		{"a line break", m, goodToken(nil) + "\n", badToken, ""},
		{"a NUL", m, "\x00", badToken, ""},
		{"a long token", m, strings.Repeat("a", 9<<10), "401 invalid_token too_large", ""},
		{"a rule", m.Require(fine), goodToken(nil), "500 misconfigured", ""},
		{"a rule and no token", m.Require(fine), "", "500 misconfigured", ""},
		{"a rule, optional", m.Require(fine).Optional(), "", "500 misconfigured", ""},
		{"a rule, anonymous", m.Require(fine).AllowAnonymous(), "garbage", "500 misconfigured", ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			type key struct{}
			events = nil
			ctx, err := tt.m.Verify(context.WithValue(t.Context(), key{}, "v"), tt.token)
			got := admitted
			if err != nil {
				got = verdictOf(err)
			}
			if got != tt.want || (ctx == nil) != (err != nil) {
				t.Fatalf("%q with context %v, want %q", got, ctx, tt.want)
			}
			event, refusal := events[0], ""
			if event.Err != nil {
				refusal = verdictOf(event.Err)
			}
			if len(events) != 1 || event.Request != nil || event.Nested || event.Admitted != (err == nil) {
				t.Errorf("%d events: %v", len(events), event)
			}
			if tt.want == admitted && refusal != tt.err || tt.want != admitted && refusal != tt.want {
				t.Errorf("event of %q", refusal)
			}
			if err != nil {
				return
			}
			claims, ok := jwthttp.ClaimsFromContext[testClaims](ctx)
			token, ok2 := jwthttp.TokenFromContext(ctx)
			if wantToken := tt.token != "" && tt.err == ""; ok != wantToken || ok2 != wantToken || ok && (claims.Role != "editor" || token.Source != jwthttp.SourceOther || token.Raw() != tt.token) {
				t.Errorf("claims %v, %v, token %v, %v", claims, ok, token, ok2)
			}
			if ctx.Value(key{}) != "v" {
				t.Error("the values of the context are lost")
			}
		})
	}
}

// Verify inside a request, as for the first message of a WebSocket, and a Handler
// inside a verified context.
func TestMiddleware_Verify_nested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counting
		m := mustNew[testClaims](t, c.options())
		outer := serve(m.Optional(), newRequest()).inner.Context()
		ctx, err := m.Verify(outer, goodToken(map[string]any{"scope": "a"}))
		if err != nil || jwthttp.MustClaims[testClaims](ctx).Subject != "alice" {
			t.Fatal(err)
		}
		// The token of the second call counts, even if the first was as good.
		again, err := m.Verify(ctx, goodToken(map[string]any{"sub": "bob"}))
		if err != nil || jwthttp.MustClaims[testClaims](again).Subject != "bob" || c.revocations != 2 {
			t.Errorf("%d revocation checks, error %v", c.revocations, err)
		}
		if _, err := m.Verify(ctx, ""); verdictOf(err) != missing {
			t.Errorf("no token inside a verified context: %v", err)
		}
		if got := verdict(m.RequireScopes("a"), newRequest().WithContext(ctx)); got != admitted || !c.nested[len(c.nested)-1] {
			t.Errorf("a request with the context of Verify: %q", got)
		}
		server := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{})
		ctx2, err := m.Verify(server, goodToken(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := verdict(m, newRequest().WithContext(ctx2)); got != admitted {
			t.Errorf("a request of the same server: %q", got)
		}
		if got := verdict(m, newRequest(withMethod("POST"), withField("Sec-Fetch-Site", "cross-site")).WithContext(ctx)); got != "403 cross_origin" {
			t.Errorf("a cross-origin request with the context of Verify: %q", got)
		}
	})
}

// ReasonCanceled is for clients that hang up while their request waits.
func TestHandler_canceled(t *testing.T) {
	waiting := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	hook := func(o *jwthttp.Options) {
		o.Revoked = func(ctx context.Context, _ *jwthttp.Token) (bool, error) { return false, waiting(ctx) }
	}
	hookFailOpen := func(o *jwthttp.Options) { hook(o); o.RevocationFailOpen = true }
	keys := func(wrap func(error) error) func(*jwthttp.Options) {
		return func(o *jwthttp.Options) {
			o.Issuers[0].Keys = keySource(func(ctx context.Context) (any, error) { return nil, wrap(waiting(ctx)) })
		}
	}
	asIs := func(err error) error { return err }
	unavailableKeys := func(err error) error { return fmt.Errorf("%w: %w", jwthttp.ErrKeysUnavailable, err) }
	hangUp := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Millisecond, cancel)
		return ctx, cancel
	}
	deadline := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Millisecond)
	}
	for _, tt := range []struct {
		name   string
		change func(*jwthttp.Options)
		end    func(context.Context) (context.Context, context.CancelFunc)
		want   string
	}{
		{"the client hangs up during the hook", hook, hangUp, "499 canceled"},
		{"the client hangs up during a hook that fails open", hookFailOpen, hangUp, "499 canceled"},
		{"the client hangs up during a fetch of keys", keys(unavailableKeys), hangUp, "499 canceled"},
		{"the client hangs up during a KeySource that returns the context's error", keys(asIs), hangUp, "499 canceled"},
		{"the request has a deadline during the hook", hook, deadline, "503 revocation_unavailable"},
		{"the request has a deadline during a hook that fails open", hookFailOpen, deadline, "503 revocation_unavailable"},
		{"the request has a deadline during a fetch of keys", keys(unavailableKeys), deadline, "503 keys_unavailable"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var event jwthttp.Event
			handled := false
			opts := newOptions()
			tt.change(&opts)
			opts.Observer = func(_ context.Context, e jwthttp.Event) { event = e }
			opts.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
				handled = true
				jwthttp.WriteError(w, e)
			}
			ctx, cancel := tt.end(t.Context())
			defer cancel()
			res := serve(mustNew[testClaims](t, opts), newRequest(withBearer(goodToken(nil))).WithContext(ctx))
			if got := verdictOf(event.Err); got != tt.want || event.Admitted || res.inner != nil {
				t.Errorf("event %v: %q, want %q", event, got, tt.want)
			}
			canceled := tt.want == "499 canceled"
			if written := res.Body.Len() > 0 || len(res.Header()) > 0; written == canceled || handled == canceled {
				t.Errorf("written: %v, ErrorHandler called: %v", written, handled)
			}
		})
	}
	bubble(t, "the client has hung up before the hook answers", func(t *testing.T) {
		for _, tt := range []struct {
			revoked bool
			want    string
		}{{false, admitted}, {true, "401 invalid_token revoked"}} {
			ctx, cancel := context.WithCancel(t.Context())
			opts := newOptions()
			opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { cancel(); return tt.revoked, nil }
			if got := verdict(mustNew[testClaims](t, opts), newRequest(withBearer(goodToken(nil))).WithContext(ctx)); got != tt.want {
				t.Errorf("verdict %q, want %q", got, tt.want)
			}
		}
	})
}

// keySource is a KeySource that looks at the context of the request.
type keySource func(context.Context) (any, error)

func (s keySource) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	return func(*jwt.Token) (any, error) { return s(ctx) }
}

// net/http cancels the context of a request whose client has closed its side of
// the connection, although that client still reads.
func TestHandler_halfClosed(t *testing.T) {
	opts := newOptions()
	hookCalled := make(chan struct{}, 1)
	opts.Revoked = func(ctx context.Context, t *jwthttp.Token) (bool, error) {
		<-ctx.Done()
		if t.ID == "fails" {
			return false, ctx.Err()
		}
		hookCalled <- struct{}{}
		return false, nil
	}
	opts.RevocationTimeout = time.Minute
	s := httptest.NewServer(mustNew[testClaims](t, opts).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })))
	defer s.Close()
	token := func(id string) string {
		return mustSign(t, jwt.SigningMethodHS256, secret, jwt.RegisteredClaims{
			Issuer: issuerName, Audience: jwt.ClaimStrings{audienceName}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)), ID: id,
		})
	}
	for _, tt := range []struct {
		name, token, want string // want "": no answer
	}{{"admitted", token("x"), "200 ok"}, {"refused", "a.b.c", "401"}, {"canceled, and not an empty 200", token("fails"), ""}} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n", tt.token)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if tt.want == "" {
				if err == nil {
					t.Errorf("answer %v", res.Status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			if got := fmt.Sprint(res.StatusCode, " ", string(body)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("answer %q", got)
			}
		})
	}
	<-hookCalled
}

// Rule 46
func TestOptions_errorHandler(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler func(http.ResponseWriter, *http.Request, *jwthttp.Error)
		status  int
		body    string
	}{
		{"silent", func(http.ResponseWriter, *http.Request, *jwthttp.Error) {}, 401, ""},
		{"a body without a status", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) { _, _ = io.WriteString(w, "no") }, 401, "no"},
		{"a flush without a status", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}, 401, ""},
		{"an early hint", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) { w.WriteHeader(http.StatusEarlyHints) }, 401, ""},
		{"a hijacked connection", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 499 Own\r\nWww-Authenticate: Bearer realm=\"restricted\"\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}, 499, ""},
		{"a redirect", func(w http.ResponseWriter, r *http.Request, _ *jwthttp.Error) {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		}, 303, "<a href=\"/login\">See Other</a>.\n\n"},
		{"WriteError", func(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) { jwthttp.WriteError(w, e) }, 401, `{"error":"missing","error_description":"authentication required","reason":"missing"}` + "\n"},
		{"the features of the ResponseWriter", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				panic(err)
			}
		}, 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.ErrorHandler = tt.handler
			var serverLog bytes.Buffer
			defer func() {
				if serverLog.Len() > 0 {
					t.Errorf("the server complains: %s", serverLog.String())
				}
			}()
			s := httptest.NewUnstartedServer(mustNew[testClaims](t, opts).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("handler called") })))
			s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&serverLog, nil), slog.LevelError)
			s.Start()
			defer s.Close()
			client := s.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			res, err := client.Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != tt.status || string(body) != tt.body {
				t.Errorf("status %d with %q", res.StatusCode, body)
			}
			if got := res.Header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != `Bearer realm="restricted"` {
				t.Errorf("challenge %q", got)
			}
		})
	}
}

// Rule 44
func TestHandler_responseWriter(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	token := mustSign(t, jwt.SigningMethodHS256, secret, jwt.RegisteredClaims{
		Issuer: issuerName, Audience: jwt.ClaimStrings{audienceName}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	})
	call := func(t *testing.T, h http.HandlerFunc, upgrade bool) (string, error) {
		s := httptest.NewServer(m.Handler(h))
		defer s.Close()
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		extra := ""
		if upgrade {
			extra = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
		}
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nX-Kept: v\r\n%sContent-Length: 4\r\n\r\nbody", token, extra)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", string(b)), err
	}
	t.Run("Flusher, ResponseController, body and headers", func(t *testing.T) {
		got, err := call(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %v", body, r.Header.Get("X-Kept"), http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)))
			w.(http.Flusher).Flush()
		}, false)
		if got != "200 body v <nil>" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("Hijacker, as WebSocket libraries use it", func(t *testing.T) {
		got, err := call(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 299 Own\r\nContent-Length: 2\r\n\r\nok")
		}, true)
		if got != "299 ok" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("http.ErrAbortHandler", func(t *testing.T) {
		if got, err := call(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false); err == nil {
			t.Errorf("answered %q", got)
		}
	})
}

// Rule 44
func TestHandler_originalRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRequest(withBearer(goodToken(nil)))
		before := r.Clone(r.Context())
		inner := serve(mustNew[testClaims](t, newOptions()), r).inner
		if !reflect.DeepEqual(r.Header, before.Header) || r.Context() != before.Context() || *r.URL != *before.URL {
			t.Error("the original request was changed")
		}
		if inner.Header.Get("Authorization") == "" {
			t.Error("the inner request lost its header")
		}
	})
}

func TestOptions_copies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
			token.Subject, token.Scopes[0] = "changed", "changed"
			return false, nil
		}
		opts.Observer = func(_ context.Context, e jwthttp.Event) {
			if e.Token.Subject != "alice" || e.Token.Scopes[0] != "a" {
				t.Errorf("observer saw %v", e.Token)
			}
			e.Token.Subject, e.Token.Scopes[0] = "changed", "changed"
		}
		ctx := serve(mustNew[testClaims](t, opts).RequireScopes("a"), newRequest(scoped("a"))).inner.Context()
		if token, _ := jwthttp.TokenFromContext(ctx); token.Subject != "alice" || token.Scopes[0] != "a" {
			t.Errorf("handler saw %v", token)
		}
	})
}

func TestEvent(t *testing.T) {
	const invalidToken = "401 invalid_token "
	type key struct{}
	for _, tt := range []struct {
		name     string
		request  func(*http.Request)
		want     string
		verified bool
		cached   bool // when it was seen before
	}{
		{"admitted", scoped("a"), admitted, true, true},
		{"no token", func(*http.Request) {}, missing, false, false},
		{"a forged token", withBearer(altered(goodToken(nil))), invalidToken + "signature", false, false},
		{"an expired token", withBearer(goodToken(map[string]any{"exp": 1})), invalidToken + "expired", false, false},
		{"a bound token", withBearer(goodToken(map[string]any{"cnf": 1})), invalidToken + "binding", true, false},
		{"claims that do not decode", withBearer(goodToken(map[string]any{"role": 1})), invalidToken + "claims", true, false},
		{"a revoked token", withBearer(goodToken(map[string]any{"jti": "revoked"})), invalidToken + "revoked", true, true},
		{"a missing scope", scoped("b"), noScope, true, true},
		{"a rule", withBearer(goodToken(map[string]any{"scope": "a", "sub": "bob"})), "403 forbidden", true, true},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var events []jwthttp.Event
			opts := newOptions()
			opts.CacheSize = 8
			opts.Observer = func(ctx context.Context, e jwthttp.Event) {
				if ctx != e.Request.Context() || ctx.Value(key{}) != "v" {
					t.Errorf("context %v", ctx)
				}
				events = append(events, e)
			}
			opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
				time.Sleep(time.Millisecond)
				return token.ID == "revoked", nil
			}
			m := mustNew[testClaims](t, opts).RequireScopes("a").Require(jwthttp.Rule(func(_ *http.Request, c testClaims) error {
				if c.Subject != "alice" {
					return errors.New("not alice")
				}
				return nil
			}))
			withValue := func() *http.Request {
				return newRequest(tt.request).WithContext(context.WithValue(t.Context(), key{}, "v"))
			}
			serve(m, withValue())
			_, err := m.Authenticate(withValue())
			if len(events) != 2 {
				t.Fatalf("%d events from Handler and Authenticate", len(events))
			}
			for i, e := range events {
				got := admitted
				if e.Err != nil {
					got = verdictOf(e.Err)
				}
				if got != tt.want || (e.Token != nil) != tt.verified || e.Admitted != (tt.want == admitted) || e.Cached != (i == 1 && tt.cached) || e.Unchecked || e.Nested {
					t.Errorf("event %q: %+v with token %v, cached %v, unchecked %v", got, e, e.Token, e.Cached, e.Unchecked)
				}
				if _, ok := jwthttp.ClaimsFromContext[testClaims](e.Request.Context()); ok != e.Admitted {
					t.Errorf("the event's request has claims: %v", ok)
				}
			}
			if err != nil && !errors.Is(err, events[1].Err) {
				t.Errorf("Authenticate returned %v, the event has %v", err, events[1].Err)
			}
			if tt.want == admitted && events[0].Took != time.Millisecond {
				t.Errorf("took %v", events[0].Took)
			}
		})
	}
}

func TestEvent_order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		opts := newOptions()
		opts.Observer = func(context.Context, jwthttp.Event) { order = append(order, "observer") }
		opts.ErrorHandler = func(http.ResponseWriter, *http.Request, *jwthttp.Error) { order = append(order, "answer") }
		m := mustNew[testClaims](t, opts)
		serve(m, newRequest())
		h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { order = append(order, "handler") }))
		h.ServeHTTP(httptest.NewRecorder(), newRequest(withBearer(goodToken(nil))))
		if diff := cmp.Diff([]string{"observer", "answer", "observer", "handler"}, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestHandler_refusedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := 0
		opts := newOptions()
		opts.ErrorHandler = func(_ http.ResponseWriter, r *http.Request, _ *jwthttp.Error) {
			called++
			if _, ok := jwthttp.ClaimsFromContext[testClaims](r.Context()); ok {
				t.Error("ErrorHandler got claims")
			}
			if _, ok := jwthttp.TokenFromContext(r.Context()); ok {
				t.Error("ErrorHandler got a Token")
			}
		}
		m := mustNew[testClaims](t, opts).RequireScopes("a")
		serve(m, newRequest(scoped("b")))
		serve(m.Require(refusing(errors.New("no"))), newRequest(scoped("a")))
		if called != 2 {
			t.Errorf("ErrorHandler called %d times", called)
		}
	})
}

// Rule 47
func TestPrinting(t *testing.T) {
	compact, expired := goodToken(map[string]any{"scope": "a"}), goodToken(map[string]any{"exp": 1})
	const fieldValue, queryValue = "confidential-field", "confidential-parameter"
	secrets := []string{fieldValue, queryValue, compact, strings.Split(compact, ".")[1], strings.Split(compact, ".")[2], strings.Split(expired, ".")[1]}
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromQuery("token"))
		var events []jwthttp.Event
		opts.Observer = func(_ context.Context, e jwthttp.Event) { events = append(events, e) }
		m := mustNew[testClaims](t, opts)
		request := func(change ...func(*http.Request)) *http.Request {
			r := newRequest(append(change, withField("X-Secret", fieldValue))...)
			r.URL.RawQuery += "&other=" + queryValue
			return r
		}
		ctx := serve(m, request(withBearer(compact))).inner.Context()
		serve(m, request(withQuery("token="+compact)))
		serve(m, request(withQuery("token="+expired)))
		serve(m.AllowAnonymous(), request(withBearer(expired)))
		serve(m.Require(refusing(errors.New("no"))), request(withBearer(compact)))
		verified, err := m.Verify(t.Context(), compact)
		if err != nil {
			t.Fatal(err)
		}
		token, _ := jwthttp.TokenFromContext(ctx)
		credential, err := jwthttp.FromHeader("Authorization", "Bearer")(newRequest(withBearer(compact)))
		if err != nil || credential.Token != compact {
			t.Fatalf("extraction: %v", err)
		}
		claims := jwthttp.MustClaims[testClaims](ctx)
		derived := context.WithValue(ctx, http.ServerContextKey, "x")
		watched, cancel := m.Watch(ctx, time.Minute)
		cancel()
		synctest.Wait() // fmt reads the fields of contexts without a lock
		values := []any{
			token, *token, credential, &credential, m, *m, ctx, derived, watched, verified, claims, opts, jwthttp.SourceQuery,
			[]any{token}, map[string]any{"t": token}, struct{ T any }{credential}, struct{ t *jwthttp.Token }{token}, []jwthttp.Credential{credential},
			struct{ E jwthttp.Event }{events[0]}, map[string]jwthttp.Event{"e": events[0]},
		}
		for _, e := range events {
			values = append(values, e, &e)
		}
		for _, change := range []map[string]any{{"exp": 1}, {"aud": "x"}, {"iss": "x"}, {"role": 1}, {"cnf": 1}} {
			_, err := m.Authenticate(request(withBearer(goodToken(change))))
			var e *jwthttp.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			values = append(values, err, *e)
		}
		_, err = m.Authenticate(request(withBearer(altered(compact))))
		values = append(values, err)
		for _, v := range values {
			for _, text := range renderings(v) {
				for _, secretText := range secrets {
					if strings.Contains(text, secretText) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", secretText)) || strings.Contains(text, fmt.Sprint([]byte(secretText))) {
						t.Errorf("%T shows a secret: %s", v, text)
					}
				}
			}
		}
	})
}

// renderings returns the texts that printing, marshaling and logging make of v.
func renderings(v any) []string {
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "v", v)
	asJSON, _ := json.Marshal(v)
	texts := []string{string(asJSON), logged.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		texts = append(texts, fmt.Sprintf(verb, v))
	}
	return texts
}

func TestPrinting_text(t *testing.T) {
	token := &jwthttp.Token{Issuer: "i", Subject: "s", ID: "1"}
	refusal := &jwthttp.Error{Reason: jwthttp.ReasonRevoked}
	const tokenText, credentialText = `token of "i" for "s" (jti "1")`, `credential from cookie "c"`
	c := jwthttp.Credential{Token: "secret", Name: "c", Source: jwthttp.SourceCookie}
	refused := jwthttp.Event{Token: token, Err: refusal, Took: time.Second}
	for _, tt := range []struct {
		name, format string
		v            any
		want         string
	}{
		{"a Token", "%v", token, tokenText},
		{"a Token's value as Go", "%#v", *token, tokenText},
		{"a Credential", "%v", c, credentialText},
		{"a Credential as a number", "%d", &c, credentialText},
		{"an admission", "%v", jwthttp.Event{Token: token, Admitted: true, Took: time.Second}, "admitted after 1s: " + tokenText},
		{"a refusal", "%v", refused, "refused after 1s: " + tokenText + ": jwthttp: revoked"},
		{"a refusal as Go", "%#v", &refused, "refused after 1s: " + tokenText + ": jwthttp: revoked"},
		{"the zero Event", "%s", jwthttp.Event{}, "refused after 0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmt.Sprintf(tt.format, tt.v); got != tt.want {
				t.Errorf("printed as %q, want %q", got, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name string
		v    any
		want string
	}{
		{"a Credential", c, `"credential from cookie \"c\""`},
		{"a refusal", refused, `{"admitted":false,"took":1000000000,"token":{"iss":"i","sub":"s","jti":"1","alg":"","kid":"","exp":"0001-01-01T00:00:00Z"},"reason":"revoked","error":"jwthttp: revoked"}`},
	} {
		t.Run(tt.name+" in slog", func(t *testing.T) {
			var logged bytes.Buffer
			slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "v", tt.v)
			if got := logged.String(); !strings.Contains(got, `"v":`+tt.want) {
				t.Errorf("logged as %s", got)
			}
		})
	}
	for _, tt := range []struct {
		v    any
		want string
	}{
		{refused, `"refused after 1s: token of \"i\" for \"s\" (jti \"1\"): jwthttp: revoked"`},
		{&c, `"credential from cookie \"c\""`},
	} {
		if got, err := json.Marshal(tt.v); err != nil || string(got) != tt.want {
			t.Errorf("marshaled as %s (%v)", got, err)
		}
	}
}

// Fields can be added to a struct only if it has no literal without field names.
func TestStructs_unkeyed(t *testing.T) {
	for _, v := range []any{
		jwthttp.Options{}, jwthttp.Issuer{}, jwthttp.Credential{}, jwthttp.Token{}, jwthttp.Error{}, jwthttp.Event{}, jwthttp.Middleware{},
	} {
		typ := reflect.TypeOf(v)
		hidden := false
		for i := range typ.NumField() {
			hidden = hidden || !typ.Field(i).IsExported()
		}
		if !hidden {
			t.Errorf("%v can be written without field names", typ)
		}
	}
}
