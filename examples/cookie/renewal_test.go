package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
)

// browser calls a handler without a socket, for synctest bubbles, and keeps the
// cookie as a browser does.
type browser struct {
	handler http.Handler
	token   string
	expires time.Time
}

func (b *browser) ask(t *testing.T, method, path string, form url.Values) answer {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b.token != "" && time.Now().Before(b.expires) {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: b.token})
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	a := read(t, w.Result())
	if a.cookie != nil {
		b.token, b.expires = a.cookie.Value, time.Now().Add(time.Duration(a.cookie.MaxAge)*time.Second)
	}
	return a
}

func (b *browser) signIn(t *testing.T) {
	t.Helper()
	if a := b.ask(t, "POST", "/login", url.Values{"username": {"alice"}, "password": {password}}); a.cookie == nil {
		t.Fatalf("signing in: %d", a.status)
	}
}

// A token is valid for ten minutes, a session for thirty.
func TestRenewing(t *testing.T) {
	for _, test := range []struct {
		name    string
		path    string
		after   time.Duration
		renewed bool
		status  int
	}{
		{"at once", "/account", 0, false, 200},
		{"at half of its lifetime", "/account", 5 * time.Minute, false, 200},
		{"after half of its lifetime", "/account", 5*time.Minute + time.Second, true, 200},
		{"after half of its lifetime, on the visitors' page", "/", 6 * time.Minute, true, 200},
		{"in its last second", "/account", 10*time.Minute - time.Second, true, 200},
		{"when it has expired", "/account", 10 * time.Minute, false, 401},
		{"long after", "/account", 11 * time.Minute, false, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &browser{handler: newTestSite(t).handler}
				b.signIn(t)
				first := claimsOf(t, b.token)
				time.Sleep(test.after)
				a := b.ask(t, "GET", test.path, nil)
				if renewed := a.cookie != nil && a.cookie.Value != ""; a.status != test.status || renewed != test.renewed {
					t.Fatalf("%d, renewed: %v", a.status, renewed)
				}
				if !test.renewed {
					return
				}
				next := claimsOf(t, b.token)
				if next["sid"] != first["sid"] || next["auth_time"] != first["auth_time"] || next["sub"] != "alice" || next["jti"] == first["jti"] {
					t.Errorf("%v was renewed as %v", first, next)
				}
				if exp := next["exp"].(float64); exp != float64(time.Now().Add(10*time.Minute).Unix()) {
					t.Errorf("the next token expires at %v", exp)
				}
				if a.cookie.MaxAge != 601 || !a.cookie.HttpOnly || !a.cookie.Secure {
					t.Errorf("cookie %v", a.cookie)
				}
				if test.path == "/account" && !strings.Contains(a.body, next["jti"].(string)) {
					t.Errorf("the page shows the old token: %s", a.body)
				}
			})
		})
	}
}

func TestRenewing_sessionEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &browser{handler: newTestSite(t).handler}
		b.signIn(t)
		end := time.Now().Add(30 * time.Minute)
		renewals := 0
		for time.Now().Before(end) {
			a := b.ask(t, "GET", "/account", nil)
			if a.status != 200 {
				t.Fatalf("%v before the end: %d", time.Until(end), a.status)
			}
			if exp := claimsOf(t, b.token)["exp"].(float64); exp > float64(end.Unix()) || b.expires.After(end.Add(time.Second)) {
				t.Fatalf("%v before the end: token until %v, cookie until %v", time.Until(end), exp, b.expires)
			}
			if a.cookie != nil {
				renewals++
			}
			time.Sleep(10 * time.Second)
		}
		if a := b.ask(t, "GET", "/account", nil); a.status != 401 {
			t.Errorf("at the end: %d", a.status)
		}
		// One renewal in five minutes. The token that lasts to the end is not renewed.
		if renewals != 4 {
			t.Errorf("%d renewals", renewals)
		}
	})
}

func TestLogout_lastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t)
		b := &browser{handler: s.handler}
		b.signIn(t)
		for range 5 {
			time.Sleep(5*time.Minute + 58*time.Second)
			b.ask(t, "GET", "/account", nil)
		}
		stolen := b.token
		if a := b.ask(t, "POST", "/logout", url.Values{}); a.status != 303 || b.token != "" {
			t.Fatalf("a logout in the last minute: %d", a.status)
		}
		thief := &browser{s.handler, stolen, time.Now().Add(time.Hour)}
		if a := thief.ask(t, "GET", "/account", nil); a.status != 401 || !strings.Contains(a.body, "revoked") {
			t.Errorf("after the logout: %d %s", a.status, a.body)
		}
	})
}

func TestLogout_session(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t)
		b := &browser{handler: s.handler}
		b.signIn(t)
		tokens := []string{b.token}
		for _, after := range []time.Duration{6 * time.Minute, 4*time.Minute - time.Second} {
			time.Sleep(after)
			b.token = tokens[0]
			b.ask(t, "GET", "/account", nil)
			tokens = append(tokens, b.token)
		}
		// The oldest one would have expired ten minutes before the newest.
		b.token = tokens[0]
		if a := b.ask(t, "POST", "/logout", url.Values{}); a.status != 303 || b.token != "" {
			t.Fatalf("logout: %d, cookie %v", a.status, a.cookie)
		}
		for range 40 {
			for i, token := range tokens {
				thief := &browser{s.handler, token, time.Now().Add(time.Hour)}
				if a := thief.ask(t, "GET", "/account", nil); a.status != 401 || thief.token != "" {
					t.Fatalf("token %d: %d, cookie %v", i, a.status, a.cookie)
				}
			}
			time.Sleep(30 * time.Second)
		}
	})
}

// The logout comes after a request was admitted and before it renews the token,
// so the new token has an iat after the logout.
func TestLogout_requestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t)
		b := &browser{handler: s.handler}
		b.signIn(t)
		time.Sleep(6 * time.Minute)
		auth, err := jwthttp.New[claims](jwthttp.Options{
			Issuers:   []jwthttp.Issuer{{Name: issuer, Audience: []string{audience}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(s.secret)}},
			Extractor: jwthttp.FromCookie(cookieName),
			Revoked:   s.ended.Revoked,
		})
		if err != nil {
			t.Fatal(err)
		}
		other := *b
		slow := &browser{token: b.token, expires: b.expires}
		slow.handler = auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if a := other.ask(t, "POST", "/logout", url.Values{}); a.status != 303 {
				t.Errorf("logout: %d", a.status)
			}
			time.Sleep(3 * time.Second)
			s.renewing(s.page("account.html"))(w, r)
		}))
		if a := slow.ask(t, "GET", "/account", nil); a.status != 200 || a.cookie == nil {
			t.Fatalf("the request under way: %d, cookie %v; want a new token", a.status, a.cookie)
		}
		slow.handler = s.handler
		for range 15 {
			if a := slow.ask(t, "GET", "/account", nil); a.status != 401 {
				t.Fatalf("after the logout: %d", a.status)
			}
			time.Sleep(time.Minute)
		}
	})
}
