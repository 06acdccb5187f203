package logout_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	// What a logout token at bubbleStart revokes.
	endedSession = "session session-1 of https://issuer.test 1m0s 1h1m30s"
	endedSubject = "subject alice of https://issuer.test 0s 1h0m30s"
)

// Back-Channel Logout 1.0 §2.4 and §2.6. Rules 67, 68.
func TestBackChannel_token(t *testing.T) {
	for _, tt := range []struct {
		name            string
		header, changes object
		want            string // entries; "": 400
	}{
		{"sid and sub", nil, nil, endedSession},
		{"sid alone", nil, object{"sub": nil}, endedSession},
		{"sid, and a sub that is null", nil, object{"sub": raw("null")}, endedSession},
		{"sub alone", nil, object{"sid": nil}, endedSubject},
		{"sub, and a sid that is null", nil, object{"sid": raw("null")}, endedSubject},
		{"sid as an integer", nil, object{"sid": 7}, "session 7 of https://issuer.test 1m0s 1h1m30s"},
		{"neither", nil, object{"sid": nil, "sub": nil}, ""},
		{"both null", nil, object{"sid": raw("null"), "sub": raw("null")}, ""},
		{"an empty sid", nil, object{"sid": ""}, ""},
		{"an empty sid alone", nil, object{"sid": "", "sub": nil}, ""},
		{"an empty sub", nil, object{"sub": ""}, ""},
		{"an empty sub alone", nil, object{"sub": "", "sid": nil}, ""},
		{"a sid of another type", nil, object{"sid": array{"session-1"}}, ""},
		{"a sub of another type", nil, object{"sub": object{}, "sid": nil}, ""},

		{"typ in another case, with application/", object{"typ": "application/Logout+JWT"}, nil, endedSession},
		{"no typ", object{"typ": nil}, nil, endedSession},
		{"typ JWT, as Keycloak had it", object{"typ": "JWT"}, nil, endedSession},
		{"an access token's typ", object{"typ": "at+jwt"}, nil, ""},
		{"a security event token's typ", object{"typ": "secevent+jwt"}, nil, ""},
		{"a proof's typ", object{"typ": "dpop+jwt"}, nil, ""},

		{"nonce", nil, object{"nonce": "n"}, ""},
		{"an empty nonce", nil, object{"nonce": ""}, ""},
		{"a nonce that is null", nil, object{"nonce": raw("null")}, ""},
		{"a nonce of another type", nil, object{"nonce": array{}}, ""},
		{"nonce in another case", nil, object{"Nonce": "n"}, ""},

		{"no events", nil, object{"events": nil}, ""},
		{"events is null", nil, object{"events": raw("null")}, ""},
		{"events is empty", nil, object{"events": object{}}, ""},
		{"events is an array", nil, object{"events": array{logoutEvent}}, ""},
		{"events is a string", nil, object{"events": logoutEvent}, ""},
		{"events in another case", nil, object{"events": nil, "Events": object{logoutEvent: object{}}}, ""},
		{"another event", nil, object{"events": object{logoutEvent + "s": object{}}}, ""},
		{"the event in another case", nil, object{"events": object{strings.ToUpper(logoutEvent): object{}}}, ""},
		{"the event is null", nil, object{"events": object{logoutEvent: raw("null")}}, ""},
		{"the event is a string", nil, object{"events": object{logoutEvent: ""}}, ""},
		{"the event is an array", nil, object{"events": object{logoutEvent: array{}}}, ""},
		{"the event is true", nil, object{"events": object{logoutEvent: true}}, ""},
		{"the event with members, and another event", nil, object{"events": object{logoutEvent: object{"a": 1}, "b": 2}}, endedSession},

		{"no iss", nil, object{"iss": nil}, ""},
		{"another iss", nil, object{"iss": senderName + "/"}, ""},
		{"no aud", nil, object{"aud": nil}, ""},
		{"another aud", nil, object{"aud": "client-2"}, ""},
		{"an API's aud", nil, object{"aud": jwthttptest.Audience}, ""},
		{"several aud", nil, object{"aud": array{"client-2", client}}, endedSession},
		{"no jti", nil, object{"jti": nil}, ""},
		{"an empty jti", nil, object{"jti": ""}, ""},
		{"no exp", nil, object{"exp": nil}, ""},
		{"expired", nil, object{"exp": bubbleStart - 30}, ""},
		{"expired within the leeway", nil, object{"exp": bubbleStart - 29}, endedSession},
		{"no iat", nil, object{"iat": nil}, ""},
		{"iat is null", nil, object{"iat": raw("null")}, ""},
		{"iat ahead by the leeway", nil, object{"iat": bubbleStart + 30, "sid": nil}, "subject alice of https://issuer.test 30s 1h1m0s"},
		{"iat ahead by more", nil, object{"iat": bubbleStart + 31}, ""},
		{"iat with a fraction", nil, object{"iat": bubbleStart - 0.5, "sid": nil}, "subject alice of https://issuer.test -500ms 1h0m29.5s"},
		{"an old iat revokes what was issued until then", nil, object{"iat": bubbleStart - 600, "sid": nil}, "subject alice of https://issuer.test -10m0s 50m30s"},
		{"an old iat does not matter to a session", nil, object{"iat": bubbleStart - 600}, endedSession},
		{"not valid yet", nil, object{"nbf": bubbleStart + 31}, ""},
		{"cnf", nil, object{"cnf": object{"jkt": strings.Repeat("a", 43)}}, ""},
		{"unknown claims", nil, object{"trace_id": "x", "typ": "Logout"}, endedSession},
		{"crit", object{"crit": array{"b64"}, "b64": true}, nil, ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			var event logout.Event
			opts := newOptions(sender, store.Revoke)
			opts.Issuers[0].NoExpiry = true // has no effect
			opts.Observer = func(_ context.Context, e logout.Event) { event = e }
			w := serve(mustBackChannel(t, opts), postForm(logoutToken(sender, tt.header, tt.changes)))
			checkHeader(t, w)
			if diff := cmp.Diff(tt.want, spellAll(store.entries)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if spellAll(event.Ended) != tt.want || (event.Err == nil) != (tt.want != "") {
				t.Errorf("event %v with %s", event, spellAll(event.Ended))
			}
			switch {
			case tt.want != "" && (w.Code != http.StatusOK || w.Body.Len() > 0):
				t.Errorf("%d %q (%v), want 200", w.Code, w.Body, event.Err)
			case tt.want == "" && (w.Code != http.StatusBadRequest || !strings.HasPrefix(w.Body.String(), `{"error":"invalid_request","error_description":"`)):
				t.Errorf("%d %q, want 400", w.Code, w.Body)
			}
		})
	}
}

// Tokens of the same issuer, and forged ones, are no logout tokens.
func TestBackChannel_otherTokens(t *testing.T) {
	for _, tt := range []struct {
		name  string
		token func(*jwthttptest.Issuer) string
	}{
		{"an access token", func(s *jwthttptest.Issuer) string { return s.Token(object{"aud": client, "sid": "session-1"}) }},
		{"an ID token", func(s *jwthttptest.Issuer) string {
			return s.Token(object{"aud": client, "sid": "session-1", "nonce": "n"})
		}},
		{"a security event token", func(s *jwthttptest.Issuer) string { return securityToken(s, nil, nil) }},
		{"signed with another key", func(s *jwthttptest.Issuer) string {
			return s.Forged(object{"aud": client, "sid": "session-1", "events": object{logoutEvent: object{}}})
		}},
		{"changed after signing", func(s *jwthttptest.Issuer) string {
			return s.Tampered(object{"aud": client, "events": object{logoutEvent: object{}}})
		}},
		{"alg none", func(s *jwthttptest.Issuer) string { return s.Sign(object{"alg": "none"}, nil) }},
		{"no text", func(*jwthttptest.Issuer) string { return "" }},
		{"another text", func(*jwthttptest.Issuer) string { return "a.b.c" }},
		{"with a line feed", func(s *jwthttptest.Issuer) string { return logoutToken(s, nil, nil) + "\n" }},
		{"a scheme", func(s *jwthttptest.Issuer) string { return "Bearer " + logoutToken(s, nil, nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			w := serve(mustBackChannel(t, newOptions(sender, store.Revoke)), postForm(tt.token(sender)))
			if w.Code != http.StatusBadRequest || len(store.entries) > 0 {
				t.Errorf("%d, %d entries", w.Code, len(store.entries))
			}
		})
	}
}

// Back-Channel Logout 1.0 §2.5. Rule 67.
func TestBackChannel_request(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *http.Request, token string)
		want   int
	}{
		{"as it should be", func(*http.Request, string) {}, 200},
		{"a charset, in another case", func(r *http.Request, _ string) {
			r.Header.Set("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")
		}, 200},
		{"other fields", func(r *http.Request, token string) { setBody(r, "a=1&logout_token="+token+"&a=2") }, 200},
		{"another query", func(r *http.Request, _ string) { r.URL.RawQuery = "tenant=1;2&logout=%zz" }, 200},
		{"GET", func(r *http.Request, token string) { r.Method = "GET"; r.URL.RawQuery = "logout_token=" + token }, 405},
		{"HEAD", func(r *http.Request, _ string) { r.Method = "HEAD" }, 405},
		{"OPTIONS", func(r *http.Request, _ string) { r.Method = "OPTIONS" }, 405},
		{"PUT", func(r *http.Request, _ string) { r.Method = "PUT" }, 405},
		{"post", func(r *http.Request, _ string) { r.Method = "post" }, 405},
		{"in the query", func(r *http.Request, token string) { r.URL.RawQuery = "logout_token=" + token; setBody(r, "") }, 400},
		{"in the query as well", func(r *http.Request, token string) { r.URL.RawQuery = "logout_token=" + token }, 400},
		{"empty in the query as well", func(r *http.Request, _ string) { r.URL.RawQuery = "a=1&logout_token" }, 400},
		{"escaped in the query as well", func(r *http.Request, _ string) { r.URL.RawQuery = "logout%5Ftoken=" }, 400},
		{"twice", func(r *http.Request, token string) { setBody(r, "logout_token="+token+"&logout_token="+token) }, 400},
		{"twice, once empty", func(r *http.Request, token string) { setBody(r, "logout_token="+token+"&logout_token") }, 400},
		{"missing", func(r *http.Request, token string) { setBody(r, "Logout_token="+token) }, 400},
		{"no body", func(r *http.Request, _ string) { setBody(r, "") }, 400},
		{"not a form", func(r *http.Request, token string) { setBody(r, "logout_token="+token+"&%zz") }, 400},
		{"another type", func(r *http.Request, _ string) { r.Header.Set("Content-Type", "application/json") }, 400},
		{"no type", func(r *http.Request, _ string) { r.Header.Del("Content-Type") }, 400},
		{"the largest body", func(r *http.Request, token string) { setBody(r, padTo(16<<10, "logout_token="+token+"&a=")) }, 200},
		{"a larger body", func(r *http.Request, token string) { setBody(r, padTo(16<<10+1, "logout_token="+token+"&a=")) }, 400},
		{"a body that ends early", func(r *http.Request, token string) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("logout_token="+token), errorReader{}))
		}, 400},
		{"a form of parts that was parsed before", func(r *http.Request, token string) {
			setBody(r, "--x\r\nContent-Disposition: form-data; name=logout_token\r\n\r\n"+token+"\r\n--x--\r\n")
			r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
			_ = r.ParseMultipartForm(1 << 20)
		}, 400},
		{"a form that was parsed before", func(r *http.Request, _ string) { _ = r.ParseForm() }, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			events := 0
			opts := newOptions(sender, store.Revoke)
			opts.Observer = func(_ context.Context, e logout.Event) {
				events++
				if (e.Err == nil) != (tt.want == 200) {
					t.Errorf("event %v", e)
				}
			}
			token := logoutToken(sender, nil, nil)
			r := postForm(token)
			tt.change(r, token)
			w := serve(mustBackChannel(t, opts), r)
			checkHeader(t, w)
			if w.Code != tt.want || (len(store.entries) == 1) != (tt.want == 200) || events != 1 {
				t.Errorf("%d %q, %d entries, %d events", w.Code, w.Body, len(store.entries), events)
			}
			if strings.Contains(w.Body.String(), "eyJ") {
				t.Errorf("the answer shows the token: %q", w.Body)
			}
		})
	}
}

// The form with the token does not stay in the request that the Observer gets.
func TestBackChannel_observedRequest(t *testing.T) {
	var store recorder
	sender := jwthttptest.New(t, "ES256")
	opts := newOptions(sender, store.Revoke)
	r := postForm(logoutToken(sender, nil, nil))
	opts.Observer = func(_ context.Context, e logout.Event) {
		if e.Request != r || e.Request.Form != nil || e.Request.PostForm != nil {
			t.Errorf("request %p with form %v, %v", e.Request, e.Request.Form, e.Request.PostForm)
		}
		if e.Sender != senderName || e.ID != "id-1" {
			t.Errorf("sender %q, ID %q", e.Sender, e.ID)
		}
	}
	if w := serve(mustBackChannel(t, opts), r); w.Code != 200 {
		t.Error(w.Code)
	}
}

// The clock of the issuer is ahead, within the leeway. Rule 68.
func TestReceivers_fastIssuer(t *testing.T) {
	for _, ahead := range []time.Duration{0, 2 * time.Minute, 5 * time.Minute} {
		for name, send := range map[string]func(testing.TB, *jwthttptest.Issuer, logout.Options, int64) *httptest.ResponseRecorder{
			"BackChannel": func(tb testing.TB, sender *jwthttptest.Issuer, opts logout.Options, iat int64) *httptest.ResponseRecorder {
				return serve(mustBackChannel(tb, opts), postForm(logoutToken(sender, nil, object{"iat": iat})))
			},
			"Push": func(tb testing.TB, sender *jwthttptest.Issuer, opts logout.Options, iat int64) *httptest.ResponseRecorder {
				return serve(mustPush(tb, logout.PushOptions{Options: opts}), postToken(securityToken(sender, nil, object{
					"iat": iat, "sub_id": object{"format": "complex", "session": object{"format": "opaque", "id": "session-1"}},
				})))
			},
		} {
			bubble(t, fmt.Sprint(name, " ", ahead), func(t *testing.T) {
				var list revocation.List
				sender := jwthttptest.New(t, "ES256")
				api, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
					Issuers: []jwthttp.Issuer{sender.Trusted()}, Revoked: list.Revoked, Leeway: 5 * time.Minute,
				})
				if err != nil {
					t.Fatal(err)
				}
				opts := newOptions(sender, list.Revoke)
				opts.Leeway = 5 * time.Minute
				iat := time.Now().Add(ahead).Unix()
				token := sender.Token(object{"sid": "session-1", "iat": iat})
				if isRevoked(t, api, token) {
					t.Fatal("revoked before")
				}
				if w := send(t, sender, opts, iat); w.Code != 200 && w.Code != 202 {
					t.Fatal(w.Code, w.Body)
				}
				if !isRevoked(t, api, token) {
					t.Error("not revoked")
				}
			})
		}
	}
}

// Rule 68.
func TestBackChannel_options(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*logout.Options)
		changes object
		want    string
	}{
		{"BySubject with sid and sub", func(o *logout.Options) { o.BySubject = true }, nil, endedSession + "\n" + endedSubject},
		{"BySubject without sub", func(o *logout.Options) { o.BySubject = true }, object{"sub": nil}, endedSession},
		{"BySubject without sid", func(o *logout.Options) { o.BySubject = true }, object{"sid": nil}, endedSubject},
		{"TokenLifetime", func(o *logout.Options) { o.TokenLifetime = time.Minute }, nil, "session session-1 of https://issuer.test 1m0s 2m30s"},
		{"Leeway", func(o *logout.Options) { o.Leeway = 2 * time.Minute }, object{"iat": bubbleStart + 120, "sid": nil}, "subject alice of https://issuer.test 2m0s 1h4m0s"},
		{"no Leeway", func(o *logout.Options) { o.Leeway = -1 }, nil, "session session-1 of https://issuer.test 1m0s 1h1m0s"},
		{"no Leeway for iat", func(o *logout.Options) { o.Leeway = -1 }, object{"iat": bubbleStart + 1}, ""},
		{"TokenIssuer", func(o *logout.Options) {
			o.TokenIssuer = func(sender string) []string { return []string{sender + "/tokens"} }
		}, nil, "session session-1 of https://issuer.test/tokens 1m0s 1h1m30s"},
		{"TokenIssuer with several", func(o *logout.Options) {
			o.TokenIssuer = func(string) []string { return []string{"a", "b"} }
		}, object{"sid": nil}, "subject alice of a 0s 1h0m30s\nsubject alice of b 0s 1h0m30s"},
		{"TokenIssuer with none", func(o *logout.Options) { o.TokenIssuer = func(string) []string { return nil } }, nil, ""},
		{"MaxTokenAge", func(o *logout.Options) { o.Issuers[0].MaxTokenAge = time.Minute }, object{"iat": bubbleStart - 61}, ""},
		{"a subject whose tokens have all expired", func(o *logout.Options) { o.TokenLifetime = time.Minute }, object{"iat": bubbleStart - 90, "sid": nil}, "none"},
		{"a subject whose last token expires in a second", func(o *logout.Options) { o.TokenLifetime = time.Minute }, object{"iat": bubbleStart - 89, "sid": nil}, "subject alice of https://issuer.test -1m29s 1s"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			opts := newOptions(sender, store.Revoke)
			tt.change(&opts)
			w := serve(mustBackChannel(t, opts), postForm(logoutToken(sender, nil, tt.changes)))
			want, code := tt.want, 200
			switch want {
			case "":
				code = 400
			case "none":
				want = ""
			}
			if diff := cmp.Diff(want, spellAll(store.entries)); diff != "" || w.Code != code {
				t.Errorf("%d %q, entries (-want +got):\n%s", w.Code, w.Body, diff)
			}
		})
	}
}

// A real store takes what the largest leeway allows.
func TestBackChannel_clockSkew(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var list revocation.List
		sender := jwthttptest.New(t, "ES256")
		opts := newOptions(sender, list.Revoke)
		opts.Leeway = 5 * time.Minute
		w := serve(mustBackChannel(t, opts), postForm(logoutToken(sender, nil, object{"iat": bubbleStart + 300, "exp": bubbleStart + 600, "sid": nil})))
		if w.Code != 200 || list.Len() != 1 {
			t.Errorf("%d, %d entries", w.Code, list.Len())
		}
	})
}

// A sender is told what failed (§2.8). Rule 70.
func TestBackChannel_failures(t *testing.T) {
	const unavailable = `{"error":"temporarily_unavailable","error_description":"tokens cannot be revoked at the moment"}` + "\n"
	for _, tt := range []struct {
		name   string
		change func(*logout.Options)
		code   int
		body   string
		is     error
		ended  string
	}{
		{"the store is out of reach", func(o *logout.Options) {
			o.Revoke = (&recorder{failAt: 1, err: errStore}).Revoke
		}, 400, unavailable, errStore, ""},
		{"the store fails after the first entry", func(o *logout.Options) {
			o.Revoke, o.BySubject = (&recorder{failAt: 2, err: errStore}).Revoke, true
		}, 400, unavailable, errStore, endedSession},
		{"the store panics", func(o *logout.Options) {
			o.Revoke = func(context.Context, revocation.Entry) error { panic(http.ErrAbortHandler) }
		}, 400, unavailable, nil, ""},
		{"TokenIssuer panics", func(o *logout.Options) { o.TokenIssuer = func(string) []string { panic("x") } }, 400, unavailable, nil, ""},
		{"the keys are out of reach", func(o *logout.Options) { o.Issuers[0].Keys = noKeys }, 503, unavailable, jwthttp.ErrKeysUnavailable, ""},
		{"the keys come too late", func(o *logout.Options) { o.Issuers[0].Keys = slowKeys{} }, 503, unavailable, context.DeadlineExceeded, ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			sender := jwthttptest.New(t, "ES256")
			var event logout.Event
			opts := newOptions(sender, (&recorder{}).Revoke)
			opts.Observer = func(_ context.Context, e logout.Event) { event = e }
			tt.change(&opts)
			w := serve(mustBackChannel(t, opts), postForm(logoutToken(sender, nil, nil)))
			checkHeader(t, w)
			if w.Code != tt.code || w.Body.String() != tt.body {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if event.Err == nil || tt.is != nil && !errors.Is(event.Err, tt.is) || spellAll(event.Ended) != tt.ended {
				t.Errorf("event %v with %s", event, spellAll(event.Ended))
			}
			var e *jwthttp.Error
			if errors.As(event.Err, &e) != (tt.code == 503) || e != nil && e.Reason != jwthttp.ReasonKeysUnavailable {
				t.Errorf("error %v", event.Err)
			}
		})
	}
}

// A sender that hangs up does not stop the logout. Its values stay. Rule 71.
func TestBackChannel_hangUp(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		type key struct{}
		sender := jwthttptest.New(t, "ES256")
		stored := false
		opts := newOptions(sender, func(ctx context.Context, _ revocation.Entry) error {
			deadline, ok := ctx.Deadline()
			if ctx.Err() != nil || ctx.Value(key{}) != 1 || !ok || time.Until(deadline) != 10*time.Second {
				t.Errorf("context error %v, value %v, deadline %v", ctx.Err(), ctx.Value(key{}), deadline)
			}
			stored = true
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
		cancel()
		if w := serve(mustBackChannel(t, opts), postForm(logoutToken(sender, nil, nil)).WithContext(ctx)); w.Code != 200 || !stored {
			t.Errorf("%d, stored %v", w.Code, stored)
		}
	})
}

// A replayed or late logout token ends no later login, unless it names a session.
func TestBackChannel_replay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes object
		later   object // claims of a token issued after the first delivery
		revoked bool
	}{
		{"sub", object{"sid": nil}, object{"sid": "session-2"}, false},
		{"sid, another session", nil, object{"sid": "session-2"}, false},
		{"sid, a refresh in the same session", nil, object{"sid": "session-1"}, true},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var list revocation.List
			sender := jwthttptest.New(t, "ES256")
			h := mustBackChannel(t, newOptions(sender, list.Revoke))
			api := newAPI(t, sender, list.Revoked)
			before := sender.Token(object{"sid": "session-1"})
			message := logoutToken(sender, nil, tt.changes)
			serve(h, postForm(message))
			time.Sleep(20 * time.Second)
			after := sender.Token(tt.later)
			if w := serve(h, postForm(message)); w.Code != 200 {
				t.Errorf("replay: %d", w.Code)
			}
			if !isRevoked(t, api, before) || isRevoked(t, api, after) != tt.revoked {
				t.Errorf("revoked: before %v, after %v", isRevoked(t, api, before), isRevoked(t, api, after))
			}
		})
	}
}

// setBody replaces the body of a request.
func setBody(r *http.Request, body string) {
	other := httptest.NewRequest(r.Method, "/", strings.NewReader(body))
	r.Body, r.ContentLength = other.Body, other.ContentLength
}

func padTo(size int, text string) string { return text + strings.Repeat("a", size-len(text)) }

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
