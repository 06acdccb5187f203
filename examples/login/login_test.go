package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

const (
	alicePassword = demo.AlicePassword
	adaPassword   = demo.AdaPassword
	spa           = "http://localhost:5173"
)

// service is the handler of the program on a real socket.
type service struct {
	*app
	url string
	log *exampletest.Buffer
}

// start serves the program. Its users have cheap hashes.
func start(t *testing.T) *service {
	t.Helper()
	keys, err := openKeyring("")
	if err != nil {
		t.Fatal(err)
	}
	log := &exampletest.Buffer{}
	s := &service{log: log, app: &app{
		users:       demo.NewFastUsers(),
		keys:        keys,
		lifetime:    time.Minute,
		allowOrigin: spa,
		log:         slog.New(slog.NewTextHandler(log, nil)),
	}}
	h, err := s.app.handler()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// answer is a response with its body.
type answer struct {
	status int
	header http.Header
	body   string
}

// want checks status and a part of the body.
func (a answer) want(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, body) {
		t.Errorf("got %d %s, want %d with %q", a.status, a.body, status, body)
	}
}

// ask sends a request with the header fields name, value, ... and does not follow
// redirects.
func (s *service) ask(t *testing.T, method, path, body string, fields ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// signIn signs a program in.
func (s *service) signIn(t *testing.T, name, password string) string {
	t.Helper()
	a := s.ask(t, "POST", "/login", `{"username":"`+name+`","password":"`+password+`"}`, "Content-Type", "application/json")
	var got struct {
		Token string `json:"token"`
		Type  string `json:"token_type"`
		In    int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); a.status != http.StatusOK || err != nil {
		t.Fatalf("login: %d %s %v", a.status, a.body, err)
	}
	if got.Type != "Bearer" || got.In != 60 || got.Token == "" {
		t.Errorf("login answered %+v", got)
	}
	return got.Token
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
	pageType = "text/html,application/xhtml+xml,*/*;q=0.8"
)

func TestHandler_authorization(t *testing.T) {
	s := start(t)
	alice, ada := s.signIn(t, "alice", alicePassword), s.signIn(t, "ada", adaPassword)

	s.ask(t, "GET", "/list", "", bearer(alice)...).want(t, 200, "white rabbit")
	s.ask(t, "GET", "/list", "", bearer(ada)...).want(t, 200, "punched cards")
	s.ask(t, "GET", "/account", "", bearer(alice)...).want(t, 200, "Hello, alice")
	s.ask(t, "GET", "/admin", "", bearer(alice)...).want(t, 403, `"forbidden"`)
	s.ask(t, "GET", "/admin", "", bearer(ada)...).want(t, 200, `"kid"`)
	s.ask(t, "POST", "/rotate", "", bearer(alice)...).want(t, 403, `"forbidden"`)
	s.ask(t, "POST", "/change-secret", "", bearer(alice)...).want(t, 403, `"forbidden"`)
	for _, path := range []string{"/list", "/validate", "/account", "/admin"} {
		a := s.ask(t, "GET", path, "")
		a.want(t, 401, `"missing"`)
		if got, want := a.header.Get("WWW-Authenticate"), `Bearer realm="restricted"`; got != want {
			t.Errorf("%s: challenge %q, want %q", path, got, want)
		}
	}
	s.ask(t, "GET", "/login", "").want(t, 405, "")
}

func TestValidate(t *testing.T) {
	s := start(t)
	token := s.signIn(t, "alice", alicePassword)
	a := s.ask(t, "GET", "/validate", "", bearer(token)...)
	var got map[string]any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"iss": issuer, "sub": "alice", "role": "editor", "tid": "wonderland"} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"aud", "iat", "exp", "jti"} {
		if got[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil || parsed.Header["typ"] != "at+jwt" || parsed.Header["kid"] != s.keys.signing().ID {
		t.Errorf("header %v, %v", parsed.Header, err)
	}
}

func TestHandler_tamperedToken(t *testing.T) {
	s := start(t)
	token := s.signIn(t, "alice", alicePassword)
	head, signature, _ := cutLast(token, ".")
	flipped := "A"
	if signature[0] == 'A' {
		flipped = "B"
	}
	a := s.ask(t, "GET", "/list", "", bearer(head+"."+flipped+signature[1:])...)
	a.want(t, 401, "invalid token signature")
	if got := a.header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
		t.Errorf("challenge %q", got)
	}
	s.ask(t, "GET", "/list", "", bearer(token+" x")...).want(t, 400, "invalid_request")
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	return s[:i], s[i+1:], i >= 0
}

func TestHandler_wrongClaims(t *testing.T) {
	s := start(t)
	sign := func(typ string, change func(*claims)) string {
		c := claims{Role: "admin", Tenant: "difference", RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: "ada", Audience: jwt.ClaimStrings{audience},
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
		}}
		change(&c)
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
		token.Header["typ"], token.Header["kid"] = typ, s.keys.signing().ID
		signed, err := token.SignedString(s.keys.signing().Secret)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	for _, test := range []struct {
		name, token, want string
	}{
		{"another audience", sign("at+jwt", func(c *claims) { c.Audience = jwt.ClaimStrings{"https://other.example"} }), "audience"},
		{"another issuer", sign("at+jwt", func(c *claims) { c.Issuer = "https://other.example" }), "issuer"},
		{"another type", sign("JWT", func(*claims) {}), "type"},
		{"no tenant", sign("at+jwt", func(c *claims) { c.Tenant = "" }), "claims"},
		{"no expiry", sign("at+jwt", func(c *claims) { c.ExpiresAt = nil }), "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.ask(t, "GET", "/admin", "", bearer(test.token)...).want(t, 401, test.want)
		})
	}
	s.ask(t, "GET", "/admin", "", bearer(sign("at+jwt", func(*claims) {}))...).want(t, 200, "kid")
}

func TestHandler_expiredToken(t *testing.T) {
	s := start(t)
	token, err := s.issue("alice", -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.ask(t, "GET", "/list", "", bearer(token)...).want(t, 401, "token expired")
}

func TestLogin(t *testing.T) {
	s := start(t)
	form := url.Values{"username": {"alice"}, "password": {alicePassword}}.Encode()
	for _, test := range []struct {
		name, contentType, body string
		status                  int
		want                    string
	}{
		{"a wrong password", jsonType, `{"username":"alice","password":"wrong"}`, 401, "wrong name or password"},
		{"an unknown user, with the same answer", jsonType, `{"username":"unknown","password":"` + alicePassword + `"}`, 401, "wrong name or password"},
		{"a wrong password in a form", formType, "username=alice&password=wrong", 401, "wrong name or password"},
		{"no password", jsonType, `{"username":"alice"}`, 400, "password required"},
		{"bad JSON", jsonType, `{"username":`, 400, "invalid_request"},
		{"something after the JSON", jsonType, `{"username":"alice","password":"` + alicePassword + `"} x`, 400, "invalid_request"},
		{"another JSON type", jsonType, `["alice"]`, 400, "invalid_request"},
		{"a bad form", formType, "username=%zz", 400, "invalid_request"},
		{"a password longer than bcrypt reads", jsonType, `{"username":"alice","password":"` + strings.Repeat("x", 73) + `"}`, 400, "at most 72 bytes"},
		{"a body longer than any login", jsonType, `{"username":"` + strings.Repeat("x", 5000) + `"}`, 413, "too large"},
		{"a long form", formType, strings.Repeat("x", 5000), 413, "too large"},
		{"a form named otherwise", "text/plain", form, 415, "send JSON or a form"},
		{"no content type", "", form, 415, "send JSON or a form"},
		{"a program's form", formType, form, 200, `"token"`},
		{"JSON with a charset", jsonType + "; charset=utf-8", `{"username":"alice","password":"` + alicePassword + `"}`, 200, `"token"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.ask(t, "POST", "/login", test.body, "Content-Type", test.contentType)
			a.want(t, test.status, test.want)
			if (a.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("%d with challenge %q", a.status, a.header.Get("WWW-Authenticate"))
			}
			if a.header.Get("Set-Cookie") != "" {
				t.Error("a program got a cookie")
			}
		})
	}
	s.ask(t, "POST", "/login?"+form, "", "Content-Type", formType).want(t, 400, "password required")
}

func TestLogout(t *testing.T) {
	s := start(t)
	token, other := s.signIn(t, "alice", alicePassword), s.signIn(t, "alice", alicePassword)
	s.ask(t, "POST", "/logout", "", bearer(token)...).want(t, 204, "")
	s.ask(t, "GET", "/list", "", bearer(token)...).want(t, 401, "token revoked")
	s.ask(t, "POST", "/logout", "", bearer(token)...).want(t, 401, "token revoked")
	s.ask(t, "GET", "/list", "", bearer(other)...).want(t, 200, "white rabbit")
	s.ask(t, "POST", "/logout", "").want(t, 401, "missing")
}

func TestKeys_change(t *testing.T) {
	s := start(t)
	before, ada := s.signIn(t, "alice", alicePassword), s.signIn(t, "ada", adaPassword)
	first := s.keys.signing().ID

	s.ask(t, "POST", "/rotate", "", bearer(ada)...).want(t, 200, `"kid"`)
	after := s.signIn(t, "alice", alicePassword)
	if s.keys.signing().ID == first {
		t.Fatal("the signing key is still the old one")
	}
	for _, token := range []string{before, after, ada} {
		s.ask(t, "GET", "/list", "", bearer(token)...).want(t, 200, "list")
	}

	s.ask(t, "POST", "/change-secret", "", bearer(ada)...).want(t, 204, "")
	for _, token := range []string{before, after, ada} {
		s.ask(t, "GET", "/list", "", bearer(token)...).want(t, 401, "unknown token key")
	}
	s.ask(t, "GET", "/list", "", bearer(s.signIn(t, "alice", alicePassword))...).want(t, 200, "list")
}

// cookieOf returns the only cookie that an answer sets.
func cookieOf(t *testing.T, a answer) *http.Cookie {
	t.Helper()
	cookies := (&http.Response{Header: a.header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d %s sets %d cookies, want 1", a.status, a.body, len(cookies))
	}
	return cookies[0]
}

// browse sends the request of a browser that navigates, with a cookie unless it is nil.
func (s *service) browse(t *testing.T, method, path, body string, cookie *http.Cookie, site string) answer {
	t.Helper()
	fields := []string{"Accept", pageType, "Content-Type", formType, "Sec-Fetch-Site", site}
	if cookie != nil {
		fields = append(fields, "Cookie", cookie.Name+"="+cookie.Value)
	}
	return s.ask(t, method, path, body, fields...)
}

const aliceForm = "username=alice&password=" + alicePassword

func TestLogin_cookie(t *testing.T) {
	s := start(t)
	a := s.browse(t, "POST", "/login", aliceForm, nil, "same-origin")
	a.want(t, 303, "")
	if got := a.header.Get("Location"); got != "/account" {
		t.Errorf("sent to %q", got)
	}
	c := cookieOf(t, a)
	if c.Name != "__Host-token" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 60 {
		t.Errorf("cookie %v", c)
	}
	s.browse(t, "GET", "/account", "", c, "none").want(t, 200, "Hello, alice")
	s.browse(t, "GET", "/list", "", c, "same-origin").want(t, 200, "white rabbit")

	out := s.browse(t, "POST", "/logout", "", c, "same-origin")
	out.want(t, 303, "")
	if got := out.header.Get("Location"); got != "/" {
		t.Errorf("sent to %q", got)
	}
	if gone := cookieOf(t, out); gone.MaxAge != -1 || gone.Value != "" || !gone.Secure || gone.Path != "/" {
		t.Errorf("logout sets %v", gone)
	}
	// A copy of the cookie is revoked, too.
	s.ask(t, "GET", "/list", "", "Cookie", c.Name+"="+c.Value).want(t, 401, "revoked")
}

func TestLogin_cookieJar(t *testing.T) {
	s := start(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	// A cookiejar.Jar sends Secure cookies over TLS only.
	h, err := s.app.handler()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(h)
	defer server.Close()
	client := server.Client()
	client.Jar = jar
	r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/login", strings.NewReader(aliceForm))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Accept", pageType)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	read(t, resp).want(t, 200, "Hello, alice")
}

func TestHandler_crossOrigin(t *testing.T) {
	s := start(t)
	c := cookieOf(t, s.browse(t, "POST", "/login", aliceForm, nil, "same-origin"))
	for _, site := range []string{"cross-site", "same-site"} {
		s.browse(t, "POST", "/logout", "", c, site).want(t, 403, "cross_origin")
		s.browse(t, "POST", "/login", aliceForm, nil, site).want(t, 403, "cross_origin")
	}
	// An old browser sends Origin only.
	s.ask(t, "POST", "/logout", "", "Cookie", c.Name+"="+c.Value, "Origin", "https://evil.example").want(t, 403, "cross_origin")
	s.ask(t, "POST", "/login", aliceForm, "Content-Type", formType, "Origin", "https://evil.example").want(t, 403, "cross_origin")
	// A link from another site works, and so does any request with a header.
	s.browse(t, "GET", "/account", "", c, "cross-site").want(t, 200, "Hello, alice")
	s.ask(t, "POST", "/logout", "", "Authorization", "Bearer "+c.Value, "Sec-Fetch-Site", "cross-site").want(t, 204, "")
}

func TestRefuse_browser(t *testing.T) {
	s := start(t)
	expired, err := s.issue("alice", -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		value string
	}{
		{"no cookie", ""},
		{"an expired one", expired},
		{"a broken one", "x.y.z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c *http.Cookie
			if test.value != "" {
				c = &http.Cookie{Name: cookieName, Value: test.value}
			}
			a := s.browse(t, "GET", "/account", "", c, "none")
			a.want(t, 303, "")
			if got := a.header.Get("Location"); got != "/?sign-in-first" {
				t.Errorf("sent to %q", got)
			}
			if a.header.Get("WWW-Authenticate") != "" {
				t.Error("the redirect has a challenge")
			}
			if c == nil {
				if a.header.Get("Set-Cookie") != "" {
					t.Error("a missing cookie is deleted")
				}
				return
			}
			if gone := cookieOf(t, a); gone.MaxAge != -1 {
				t.Errorf("the cookie is not deleted: %v", gone)
			}
			// A program gets the 401. Its cookie is deleted, too.
			a = s.ask(t, "GET", "/account", "", "Cookie", c.Name+"="+c.Value)
			a.want(t, 401, "invalid_token")
			if cookieOf(t, a).MaxAge != -1 || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("header %v", a.header)
			}
		})
	}
	s.ask(t, "GET", "/?sign-in-first", "").want(t, 200, "Sign in to see that page.")
	// A bad header comes from a program. A good cookie in the request is kept.
	c := cookieOf(t, s.browse(t, "POST", "/login", aliceForm, nil, "same-origin"))
	a := s.ask(t, "GET", "/account", "", "Accept", pageType, "Authorization", "Bearer x.y.z", "Cookie", c.Name+"="+c.Value)
	a.want(t, 401, "invalid_token")
	if a.header.Get("Set-Cookie") != "" {
		t.Error("a bad header deletes the cookie")
	}
	// The page tells a user about a wrong password.
	a = s.browse(t, "POST", "/login", "username=alice&password=wrong", nil, "same-origin")
	a.want(t, 401, "Not signed in: wrong name or password.")
}

func TestRefuse_deletesCookie(t *testing.T) {
	s := start(t)
	good := cookieOf(t, s.browse(t, "POST", "/login", aliceForm, nil, "same-origin")).Value
	revoked := cookieOf(t, s.browse(t, "POST", "/login", aliceForm, nil, "same-origin")).Value
	s.ask(t, "POST", "/logout", "", bearer(revoked)...).want(t, 204, "")
	for _, test := range []struct {
		name, method, path, cookie string
		fields                     []string
		status                     int
		deleted                    bool
	}{
		{"a revoked token", "GET", "/list", cookieName + "=" + revoked, nil, 401, true},
		{"two cookies of one name", "GET", "/list", cookieName + "=" + good + "; " + cookieName + "=" + good, nil, 400, true},
		{"another origin", "POST", "/logout", cookieName + "=" + good, []string{"Sec-Fetch-Site", "cross-site"}, 403, false},
		{"a rule", "GET", "/admin", cookieName + "=" + good, nil, 403, false},
		{"two Authorization credentials", "GET", "/list", cookieName + "=" + good, bearer(good + ", Bearer " + good), 400, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.ask(t, test.method, test.path, "", append(test.fields, "Cookie", test.cookie)...)
			a.want(t, test.status, "")
			if deleted := strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0"); deleted != test.deleted {
				t.Errorf("Set-Cookie %q", a.header.Get("Set-Cookie"))
			}
		})
	}
}

func TestAllowOrigin(t *testing.T) {
	s := start(t)
	preflight := func(origin string) answer {
		return s.ask(t, "OPTIONS", "/list", "", "Origin", origin, "Access-Control-Request-Method", "GET",
			"Access-Control-Request-Headers", "authorization")
	}
	a := preflight(spa)
	if got := a.header.Get("Access-Control-Allow-Origin"); a.status != 204 || got != spa {
		t.Errorf("preflight: %d, allowed %q", a.status, got)
	}
	if got := a.header.Get("Access-Control-Allow-Headers"); got != "authorization" {
		t.Errorf("preflight allows the fields %q", got)
	}
	if got := preflight("https://evil.example").header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("another origin gets %q", got)
	}

	// The page can read an error response and its challenge.
	a = s.ask(t, "GET", "/list", "", "Origin", spa, "Sec-Fetch-Site", "cross-site")
	a.want(t, 401, "missing")
	if a.header.Get("Access-Control-Allow-Origin") != spa || !strings.EqualFold(a.header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
		t.Errorf("refusal without CORS: %v", a.header)
	}
	if a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Error("cookies are allowed to another origin")
	}
	// It may sign in; other origins may not.
	body := `{"username":"alice","password":"` + alicePassword + `"}`
	s.ask(t, "POST", "/login", body, "Content-Type", jsonType, "Origin", spa, "Sec-Fetch-Site", "cross-site").want(t, 200, "token")
	s.ask(t, "POST", "/login", body, "Content-Type", jsonType, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").want(t, 403, "cross_origin")
}

func TestAllowOrigin_invalid(t *testing.T) {
	keys, err := openKeyring("")
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{"*", "http://*.example", "localhost:5173", "http://localhost:5173/app"} {
		a := &app{keys: keys, allowOrigin: origin, log: slog.New(slog.DiscardHandler)}
		if _, err := a.handler(); err == nil || !strings.Contains(err.Error(), "-allow-origin") {
			t.Errorf("%q: %v", origin, err)
		}
	}
	// Without the flag there is no CORS. An empty list in rs/cors would allow every origin.
	h, err := (&app{keys: keys, log: slog.New(slog.DiscardHandler)}).handler()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/list", nil)
	r.Header.Set("Origin", spa)
	h.ServeHTTP(w, r)
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("%q is allowed", got)
	}
}

func TestHandler_securityHeaders(t *testing.T) {
	s := start(t)
	for _, test := range []struct{ path, contentType string }{
		{"/", "text/html"},
		{"/app.js", "text/javascript"},
		{"/style.css", "text/css"},
		{"/list", "application/json"},
		{"/nowhere", "text/plain"},
	} {
		path, h := test.path, s.ask(t, "GET", test.path, "").header
		if !strings.HasPrefix(h.Get("Content-Type"), test.contentType) {
			t.Errorf("%s is %q", path, h.Get("Content-Type"))
		}
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestLog_secrets(t *testing.T) {
	s := start(t)
	c := cookieOf(t, s.browse(t, "POST", "/login", aliceForm, nil, "same-origin"))
	tokens := []string{s.signIn(t, "alice", alicePassword), s.signIn(t, "ada", adaPassword), c.Value}
	for _, token := range tokens {
		head, signature, _ := cutLast(token, ".")
		for _, fields := range [][]string{
			bearer(token), bearer(head + ".AAAA" + signature[4:]), bearer(head), bearer(token + ",x"), bearer(token + "\""),
			{"Authorization", token}, {"Authorization", "Basic " + token}, {"Cookie", cookieName + "=" + token},
		} {
			s.ask(t, "GET", "/admin?token="+token, "", fields...)
		}
	}
	s.ask(t, "POST", "/rotate", "", bearer(tokens[1])...)
	s.ask(t, "POST", "/login", `{"username":"`+alicePassword+`","password":"wrong-one"}`, "Content-Type", jsonType)
	s.ask(t, "POST", "/logout", "", bearer(tokens[0])...)
	s.ask(t, "GET", "/list", "", bearer(tokens[0])...)
	s.ask(t, "POST", "/change-secret", "", bearer(tokens[1])...)
	s.ask(t, "GET", "/list", "", bearer(tokens[2])...)

	log := s.log.String()
	secrets := []string{alicePassword, adaPassword, "wrong-one"}
	for _, token := range tokens {
		secrets = append(secrets, strings.Split(token, ".")...)
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log contains %q", secret)
		}
	}
	for _, want := range []string{"reason=signature", "reason=revoked", "reason=forbidden", "status=403", "subject=alice", "path=/admin", "took=", "cached=", "reason=unknown_key", "msg=\"login refused\""} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not contain %s", want)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}
