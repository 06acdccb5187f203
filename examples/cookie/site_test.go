package main

import (
	"io"
	"maps"
	"net/http"
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
	password = demo.AlicePassword
	html     = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
)

// newTestSite returns a site whose users have cheap hashes.
func newTestSite(t *testing.T) *site {
	t.Helper()
	s, err := newSite(demo.NewFastUsers(), 10*time.Minute, 30*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// served is a site on a real socket.
type served struct {
	*site
	url string
}

func start(t *testing.T) served {
	t.Helper()
	s := newTestSite(t)
	listening := httptest.NewServer(s.handler)
	t.Cleanup(listening.Close)
	return served{s, listening.URL}
}

// answer is a response with its body.
type answer struct {
	status int
	header http.Header
	cookie *http.Cookie // nil if none was set
	body   string
}

// ask sends a form, unless it is nil, with the header fields name, value, ... and
// does not follow redirects.
func (s served) ask(t *testing.T, method, path string, form url.Values, fields ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
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
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{resp.StatusCode, resp.Header, nil, string(body)}
	switch cookies := resp.Cookies(); len(cookies) {
	case 0:
	case 1:
		a.cookie = cookies[0]
	default:
		t.Errorf("%d cookies set", len(cookies))
	}
	return a
}

// signIn returns the Cookie field of a new session.
func (s served) signIn(t *testing.T) string {
	t.Helper()
	a := s.ask(t, "POST", "/login", url.Values{"username": {"alice"}, "password": {password}})
	if a.status != http.StatusSeeOther || a.cookie == nil || a.cookie.Value == "" {
		t.Fatalf("signing in: %d, cookie %v", a.status, a.cookie)
	}
	return cookieName + "=" + a.cookie.Value
}

// token signs good claims with the given changes. A claim that is nil is left out.
func (s *site) token(t *testing.T, changes jwt.MapClaims) string {
	t.Helper()
	now := time.Now().Unix()
	c := jwt.MapClaims{
		"iss": issuer, "aud": audience, "sub": "alice", "jti": "1", "sid": "s",
		"auth_time": now, "iat": now, "exp": now + 600,
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return sign(t, jwt.SigningMethodHS256, s.secret, c)
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestSite_invalidTokens(t *testing.T) {
	s := start(t)
	good := s.token(t, nil)
	ago := time.Now().Add(-time.Hour).Unix()
	unsigned := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "alice", "sid": "s", "exp": ago + 7200, "iat": ago, "auth_time": ago})
	ended := s.signIn(t)
	s.ask(t, "POST", "/logout", url.Values{}, "Cookie", ended)
	for _, test := range []struct {
		name, token, reason string
	}{
		{"no token", "", "authentication required"},
		{"not a token", "nonsense", "malformed"},
		{"altered", good[:len(good)-5] + "AAAAA", "signature"},
		{"signed by someone else", sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), claimsOf(t, good)), "signature"},
		{"signed with another algorithm", sign(t, jwt.SigningMethodHS512, s.secret, claimsOf(t, good)), "algorithm"},
		{"not signed", unsigned, "algorithm"},
		{"of another issuer", s.token(t, jwt.MapClaims{"iss": "https://other.example"}), "issuer"},
		{"for another audience", s.token(t, jwt.MapClaims{"aud": "https://other.example"}), "audience"},
		{"expired", s.token(t, jwt.MapClaims{"iat": ago - 600, "exp": ago, "auth_time": ago - 600}), "expired"},
		{"without exp", s.token(t, jwt.MapClaims{"exp": nil}), "malformed"},
		{"without sub", s.token(t, jwt.MapClaims{"sub": nil}), "claims"},
		{"without sid, so no logout could end it", s.token(t, jwt.MapClaims{"sid": nil}), "claims"},
		{"without auth_time, so its session would never end", s.token(t, jwt.MapClaims{"auth_time": nil}), "claims"},
		{"without iat", s.token(t, jwt.MapClaims{"iat": nil}), "claims"},
		{"signed out", strings.TrimPrefix(ended, cookieName+"="), "revoked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cookie := []string{"Cookie", cookieName + "=" + test.token}
			deleted := func(a answer) bool { return a.cookie != nil && a.cookie.MaxAge < 0 && a.cookie.Secure }
			for _, method := range []string{"GET", "HEAD"} {
				a := s.ask(t, method, "/account?tab=2", nil, append(cookie, "Accept", html)...)
				if at := a.header.Get("Location"); a.status != 303 || at != "/login?return=%2Faccount%3Ftab%3D2" || a.header.Get("WWW-Authenticate") != "" {
					t.Errorf("a browser's %s: %d to %q, challenge %q", method, a.status, at, a.header.Get("WWW-Authenticate"))
				}
				if deleted(a) != (test.token != "") {
					t.Errorf("a browser's %s: cookie %v", method, a.cookie)
				}
			}
			for _, request := range []struct {
				name string
				answer
				says string
			}{
				{"a program", s.ask(t, "GET", "/account", nil, append(cookie, "Accept", "application/json")...), test.reason},
				{"a form", s.ask(t, "POST", "/note", url.Values{"note": {"mine"}}, append(cookie, "Accept", html)...), `name="note" value="mine"`},
				{"a program's post", s.ask(t, "POST", "/note", url.Values{"note": {"mine"}}, cookie...), test.reason},
			} {
				a := request.answer
				if a.status != 401 || !strings.Contains(a.body, request.says) || a.header.Get("WWW-Authenticate") == "" || deleted(a) != (test.token != "") {
					t.Errorf("%s: %d %s, cookie %v; want 401 with %q", request.name, a.status, a.body, a.cookie, request.says)
				}
			}
			if a := s.ask(t, "GET", "/", nil, append(cookie, "Accept", html)...); a.status != 200 || !strings.Contains(a.body, "You are a visitor") {
				t.Errorf("the visitors' page: %d %s", a.status, a.body)
			}
			if a := s.ask(t, "POST", "/logout", url.Values{}, cookie...); a.status != 303 || !deleted(a) {
				t.Errorf("a logout: %d, cookie %v", a.status, a.cookie)
			}
		})
	}
	if note, ok := s.notes.Load("alice"); ok {
		t.Errorf("a note was saved: %q", note)
	}
}

// claimsOf returns the claims of a token of this test.
func claimsOf(t *testing.T, token string) jwt.MapClaims {
	t.Helper()
	c := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSite_tokenPlaces(t *testing.T) {
	s := start(t)
	token := s.token(t, nil)
	for _, test := range []struct {
		name, path string
		fields     []string
		want       int
		deleted    bool
	}{
		{"in its cookie", "/account", []string{"Cookie", cookieName + "=" + token}, 200, false},
		{"in a header", "/account", []string{"Authorization", "Bearer " + token}, 401, false},
		{"in the query", "/account?token=" + token, nil, 401, false},
		{"in a cookie of another name", "/account", []string{"Cookie", "token=" + token}, 401, false},
		{"twice", "/account", []string{"Cookie", cookieName + "=" + token + "; " + cookieName + "=" + token}, 400, true},
		{"twice in a browser, where a login would not help", "/account", []string{"Cookie", cookieName + "=" + token + "; " + cookieName + "=" + token, "Accept", html}, 400, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.ask(t, "GET", test.path, nil, test.fields...)
			if deleted := a.cookie != nil && a.cookie.MaxAge < 0; a.status != test.want || deleted != test.deleted {
				t.Errorf("%d, cookie %v; want %d", a.status, a.cookie, test.want)
			}
		})
	}
}

// Another part of a site may sign other tokens with the same key.
func TestSite_tokenTypes(t *testing.T) {
	s := start(t)
	for _, typ := range []any{"reset+jwt", "at+jwt", nil} {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, claimsOf(t, s.token(t, nil)))
		token.Header["typ"] = typ
		if typ == nil {
			delete(token.Header, "typ")
		}
		text, err := token.SignedString(s.secret)
		if err != nil {
			t.Fatal(err)
		}
		if a := s.ask(t, "GET", "/account", nil, "Cookie", cookieName+"="+text); a.status != 401 || !strings.Contains(a.body, "type") {
			t.Errorf("%v: %d %s", typ, a.status, a.body)
		}
	}
}

func TestLogin(t *testing.T) {
	s := start(t)
	for _, test := range []struct {
		name       string
		form       url.Values
		query      string
		want       int
		says       string
		keepsTyped bool
	}{
		{"name and password are right", url.Values{"username": {"alice"}, "password": {password}}, "", 303, "", false},
		{"a wrong password", url.Values{"username": {"alice"}, "password": {"wrong"}, "return": {"/account?a=1"}}, "", 401, "Wrong name or password.", true},
		{"an unknown name", url.Values{"username": {"mallory"}, "password": {password}}, "", 401, "Wrong name or password.", false},
		{"another user's password", url.Values{"username": {"ada"}, "password": {password}}, "", 401, "Wrong name or password.", false},
		{"no password", url.Values{"username": {"alice"}}, "", 400, "Enter a name and a password.", false},
		{"no name", url.Values{"password": {password}}, "", 400, "Enter a name and a password.", false},
		{"no form", nil, "", 400, "Enter a name and a password.", false},
		{"a password in the URL", url.Values{"username": {"alice"}}, "?password=" + password, 400, "Enter a name and a password.", false},
		{"too much of a form", url.Values{"username": {"alice"}, "password": {password}, "more": {strings.Repeat("x", 17<<10)}}, "", 400, "Enter a name and a password.", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.ask(t, "POST", "/login"+test.query, test.form, "Accept", html)
			if a.status != test.want || !strings.Contains(a.body, test.says) || (a.cookie != nil) != (test.want == 303) {
				t.Errorf("%d, cookie %v, %s", a.status, a.cookie, a.body)
			}
			if test.says != "" && !strings.Contains(a.body, `role="alert">`+test.says) {
				t.Errorf("the problem has no role: %s", a.body)
			}
			if test.keepsTyped && (!strings.Contains(a.body, `value="alice"`) || !strings.Contains(a.body, `value="/account?a=1"`)) {
				t.Errorf("the form lost its values: %s", a.body)
			}
			if typed := test.form.Get("password"); typed != "" && strings.Contains(a.body, `"`+typed+`"`) {
				t.Errorf("the form has the password: %s", a.body)
			}
		})
	}
	t.Run("markup in a name", func(t *testing.T) {
		a := s.ask(t, "POST", "/login", url.Values{"username": {`"><script>`}, "password": {"x"}, "return": {`/"><script>`}})
		if strings.Contains(a.body, "<script") {
			t.Error(a.body)
		}
	})
}

// A note that was typed before the login is shown, and saved only by its user.
func TestLogin_note(t *testing.T) {
	s := start(t)
	form := func(password string) url.Values {
		return url.Values{"username": {"ada"}, "password": {password}, "return": {"/account"}, "note": {`feed "the" cat`}}
	}
	const typed = `name="note" value="feed &#34;the&#34; cat"`
	if a := s.ask(t, "POST", "/login", form("wrong")); a.status != 401 || !strings.Contains(a.body, typed) {
		t.Errorf("a wrong password: %d %s", a.status, a.body)
	}
	a := s.ask(t, "POST", "/login", form(demo.AdaPassword))
	if a.status != 200 || a.cookie == nil || !strings.Contains(a.body, "Hello, ada") || !strings.Contains(a.body, typed) || !strings.Contains(a.body, "not saved yet") {
		t.Errorf("%d, cookie %v, %s", a.status, a.cookie, a.body)
	}
	if note, ok := s.notes.Load("ada"); ok {
		t.Errorf("the note was saved: %q", note)
	}
}

func TestLogin_cookie(t *testing.T) {
	s := start(t)
	a := s.ask(t, "POST", "/login", url.Values{"username": {"alice"}, "password": {password}})
	c := a.cookie
	if c == nil || c.Name != "__Host-token" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie %v", c)
	} else if c.MaxAge < 599 || c.MaxAge > 601 {
		t.Errorf("the cookie lives for %d s, its token for 600", c.MaxAge)
	}
}

func TestLocalPath(t *testing.T) {
	s := start(t)
	for _, test := range []struct{ to, want string }{
		{"/account", "/account"},
		{"/account?a=1&b=%2F%2Fevil.example", "/account?a=1&b=%2F%2Fevil.example"},
		{"/a/../account", "/account"},
		{"/account#part", "/account"}, // a browser does not send the fragment
		{"//@/account", "/account"},
		{"", "/"},
		{"account", "/"},
		{"?x", "/"},
		{"//evil.example", "/"},
		{"//evil.example/account", "/"},
		{"///evil.example", "/"},
		{"////evil.example", "/"},
		{"//@evil.example", "/"},
		{`/\evil.example`, "/"},
		{`\\evil.example`, "/"},
		{`\/evil.example`, "/"},
		{`/a/\evil.example`, "/"},
		{"/%5Cevil.example", "/"},
		{"/%2f/evil.example", "/"},
		{"/%2Fevil.example", "/"},
		{"/..//evil.example", "/"},
		{"/.//evil.example", "/"},
		{"/account/..//evil.example", "/"},
		{"/account/%2e%2e/%2fevil.example", "/"},
		{"https://evil.example", "/"},
		{"https:evil.example", "/"},
		{"https:/evil.example", "/"},
		{"HTTPS://evil.example", "/"},
		{"javascript:alert(1)", "/"},
		{"data:text/html,x", "/"},
		{"/\t/evil.example", "/"},
		{"/\n/evil.example", "/"},
		{"/\r\n/evil.example", "/"},
		{"\t//evil.example", "/"},
		{" //evil.example", "/"},
		{"/\x00/evil.example", "/"},
		{"/%", "/"},
		{"/login", "/"},
		{"/login?return=/login", "/"},
		{"/%6cogin", "/"},
		{"/./login", "/"},
		{"/login/", "/"},
		{"/logout", "/"},
		{"/" + strings.Repeat("a", 2000), "/"},
	} {
		a := s.ask(t, "POST", "/login", url.Values{"username": {"alice"}, "password": {password}, "return": {test.to}})
		if got := a.header.Get("Location"); a.status != 303 || got != test.want {
			t.Errorf("%q leads to %q (%d), want %q", test.to, got, a.status, test.want)
		}
		page := s.ask(t, "GET", "/login?"+url.Values{"return": {test.to}}.Encode(), nil)
		if test.want == "/" && strings.Contains(page.body, "you go to") {
			t.Errorf("the form for %q shows it: %s", test.to, page.body)
		}
	}
}

func TestSite_crossOrigin(t *testing.T) {
	s := start(t)
	mine := s.signIn(t)
	s.ask(t, "POST", "/note", url.Values{"note": {"mine"}}, "Cookie", mine)
	for _, test := range []struct {
		name   string
		fields []string
		want   bool // admitted
	}{
		{"another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, false},
		{"another port of the host", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"}, false},
		{"an old browser on another site", []string{"Origin", "https://evil.example"}, false},
		{"a sandboxed frame", []string{"Origin", "null"}, false},
		{"the site itself", []string{"Sec-Fetch-Site", "same-origin", "Origin", s.url}, true},
		{"an old browser on the site itself", []string{"Origin", s.url}, true},
		{"no browser", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			refused := func(path string, form url.Values, fields ...string) {
				t.Helper()
				a := s.ask(t, "POST", path, form, append(fields, test.fields...)...)
				if test.want {
					if a.status != 303 {
						t.Errorf("%s: %d %s", path, a.status, a.body)
					}
				} else if a.status != 403 || !strings.Contains(a.body, `"cross_origin"`) || a.cookie != nil {
					t.Errorf("%s: %d %s, cookie %v", path, a.status, a.body, a.cookie)
				}
			}
			cookie := s.signIn(t)
			refused("/note", url.Values{"note": {"theirs"}}, "Cookie", cookie)
			refused("/login", url.Values{"username": {"ada"}, "password": {"analytical-engine"}}, "Cookie", cookie)
			refused("/login", url.Values{"username": {"ada"}, "password": {"analytical-engine"}})
			refused("/logout", url.Values{}) // Lax: the browser does not send the cookie
			note := "mine"
			if test.want {
				note = "theirs"
			}
			if a := s.ask(t, "GET", "/account", nil, "Cookie", cookie); a.status != 200 || !strings.Contains(a.body, "Hello, alice") || !strings.Contains(a.body, `value="`+note+`"`) {
				t.Errorf("after that: %d %s", a.status, a.body)
			}
			refused("/logout", url.Values{}, "Cookie", cookie)
			if a := s.ask(t, "GET", "/account", nil, "Cookie", cookie); (a.status == 401) != test.want {
				t.Errorf("after the logout: %d", a.status)
			}
			s.ask(t, "POST", "/note", url.Values{"note": {"mine"}}, "Cookie", mine)
		})
	}
}

func TestSite_methods(t *testing.T) {
	s := start(t)
	cookie := s.signIn(t)
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/logout", 405}, // a link, or an image, must not sign anyone out
		{"HEAD", "/logout", 405},
		{"GET", "/note", 405},
		{"PUT", "/login", 405},
		{"POST", "/account", 405},
		{"GET", "/nowhere", 404},
		{"GET", "/web/login.html", 404},
	} {
		if a := s.ask(t, test.method, test.path, nil, "Cookie", cookie); a.status != test.want {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, a.status, test.want)
		}
	}
	if a := s.ask(t, "GET", "/account", nil, "Cookie", cookie); a.status != 200 {
		t.Errorf("signed out by one of them: %d", a.status)
	}
	if a := s.ask(t, "POST", "/note", url.Values{"note": {strings.Repeat("x", 17<<10)}}, "Cookie", cookie); a.status != 400 {
		t.Errorf("a note too large: %d", a.status)
	}
}

func TestLogout(t *testing.T) {
	s := start(t)
	one, other := s.signIn(t), s.signIn(t)
	a := s.ask(t, "POST", "/logout", url.Values{}, "Cookie", one)
	if a.status != 303 || a.header.Get("Location") != "/" || a.cookie == nil || a.cookie.MaxAge >= 0 {
		t.Errorf("logout: %d to %q, cookie %v", a.status, a.header.Get("Location"), a.cookie)
	}
	if a := s.ask(t, "GET", "/account", nil, "Cookie", one); a.status != 401 || !strings.Contains(a.body, "revoked") {
		t.Errorf("after the logout: %d %s", a.status, a.body)
	}
	if a := s.ask(t, "GET", "/account", nil, "Cookie", other); a.status != 200 {
		t.Errorf("the other session: %d", a.status)
	}
	if a := s.ask(t, "POST", "/logout", url.Values{}); a.status != 303 || a.header.Get("Location") != "/" {
		t.Errorf("a logout without a token: %d", a.status)
	}
	if a := s.ask(t, "GET", "/account", nil, "Cookie", s.signIn(t)); a.status != 200 {
		t.Errorf("the next sign-in: %d", a.status)
	}
}

func TestPages(t *testing.T) {
	s := start(t)
	cookie := s.signIn(t)
	for _, path := range []string{"/", "/account", "/login", "/nowhere"} {
		h := s.ask(t, "GET", path, nil, "Cookie", cookie).header
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" ||
			!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self';") {
			t.Errorf("%s: %v", path, h)
		}
	}
	a := s.ask(t, "GET", "/account", nil, "Cookie", cookie)
	if strings.Contains(a.body, "eyJ") || strings.Contains(a.body, "<script") || strings.Contains(a.body, "style=") {
		t.Error(a.body)
	}
	if a := s.ask(t, "GET", "/", nil); a.status != 200 || !strings.Contains(a.body, "You are a visitor") {
		t.Errorf("a visitor: %d %s", a.status, a.body)
	}
	if a := s.ask(t, "GET", "/", nil, "Cookie", cookie); !strings.Contains(a.body, "Welcome, alice") {
		t.Errorf("alice on the visitors' page: %s", a.body)
	}
}

func TestNewSite_invalidTimes(t *testing.T) {
	for _, test := range []struct{ lifetime, session time.Duration }{
		{0, time.Hour}, {-time.Minute, time.Hour}, {time.Second, time.Hour}, {time.Hour, time.Minute},
	} {
		if _, err := newSite(demo.Users{}, test.lifetime, test.session); err == nil || !strings.Contains(err.Error(), "-lifetime") {
			t.Errorf("%v: %v", test, err)
		}
	}
}

func TestProgram(t *testing.T) {
	p := exampletest.Start(t)
	if got := p.Status(t, "GET", "/"); got != 200 {
		t.Errorf("a visitor: %d", got)
	}
	if got := p.Status(t, "GET", "/account"); got != 401 {
		t.Errorf("no token: %d", got)
	}
	p.PasteLines(t)
	p.End(t)
}
