package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	alicePassword = demo.AlicePassword
	adaPassword   = demo.AdaPassword
	testInterval  = 300 * time.Millisecond
)

// trio is the three services on real sockets, with second instances of the sites.
type trio struct {
	idp     *identity
	a, b    *site
	servers []*httptest.Server
	log     *exampletest.Buffer
}

func start(t *testing.T) *trio {
	t.Helper()
	s := &trio{log: &exampletest.Buffer{}}
	var listeners []net.Listener
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	var err error
	closing := new(sync.WaitGroup)
	data := t.TempDir()
	t.Cleanup(closing.Wait)
	s.idp, s.a, s.b, err = build(t.Context(), listeners, config{
		data: data, board: newBoard(time.Minute), closing: closing,
		users:    demo.NewFastUsers(),
		lifetime: time.Minute,
		interval: testInterval,
		log:      slog.New(slog.NewTextHandler(s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, h := range []http.Handler{s.idp.handler, s.a.handler, s.b.handler, s.a.second, s.b.second} {
		server := &httptest.Server{Listener: listeners[n], Config: &http.Server{Handler: h}}
		server.Start()
		t.Cleanup(server.Close)
		s.servers = append(s.servers, server)
	}
	t.Cleanup(func() {
		if leak := regexp.MustCompile(`eyJ[\w-]+|[?&]code=|rabbit-hole`).FindString(s.log.String()); leak != "" {
			t.Errorf("the log has %q", leak)
		}
	})
	return s
}

// loopbackJar sends Secure cookies over http, as browsers do on loopback.
type loopbackJar struct{ *cookiejar.Jar }

func (j loopbackJar) SetCookies(u *url.URL, c []*http.Cookie)  { j.Jar.SetCookies(asTLS(u), c) }
func (j loopbackJar) Cookies(u *url.URL) (list []*http.Cookie) { return j.Jar.Cookies(asTLS(u)) }

func asTLS(u *url.URL) *url.URL {
	c := *u
	c.Scheme = "https"
	return &c
}

// visitor follows redirects and keeps cookies, as a browser does.
type visitor struct {
	http.Client
	ctx      context.Context
	requests *atomic.Int64
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{Client: http.Client{Jar: loopbackJar{jar}}, ctx: t.Context(), requests: new(atomic.Int64)}
}

// answer is a response with its body.
type answer struct {
	status int
	at     string
	header http.Header
	body   string
}

// want checks status, address and a part of the body.
func (a answer) want(t *testing.T, status int, at, body string) {
	t.Helper()
	if a.status != status || !strings.HasPrefix(a.at, at) || !strings.Contains(a.body, body) {
		t.Errorf("got %d at %s\n%s\nwant %d at %s with %q", a.status, a.at, a.body, status, at, body)
	}
}

// try sends a request, which is a POST if there is a form, and follows redirects.
func (v *visitor) try(to string, form url.Values, fields ...string) (answer, error) {
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(v.ctx, method, to, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := v.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	for via := resp.Request; via != nil; {
		v.requests.Add(1)
		if via.Response == nil {
			break
		}
		via = via.Response.Request
	}
	text, err := io.ReadAll(resp.Body)
	at := *resp.Request.URL
	at.Path = "/" + strings.TrimPrefix(at.Path, "/")
	return answer{resp.StatusCode, at.String(), resp.Header, string(text)}, err
}

func (v *visitor) get(t *testing.T, to string, fields ...string) answer {
	t.Helper()
	return v.post(t, to, nil, fields...)
}

func (v *visitor) post(t *testing.T, to string, form url.Values, fields ...string) answer {
	t.Helper()
	a, err := v.try(to, form, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// step is post without following the redirect.
func (v *visitor) step(t *testing.T, to string, form url.Values) answer {
	t.Helper()
	one := *v
	one.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return one.post(t, to, form)
}

// cookie returns the value of a cookie, or "".
func (v *visitor) cookie(t *testing.T, at, name string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// signIn signs in at site s.
func (v *visitor) signIn(t *testing.T, s *site, name, password string) answer {
	t.Helper()
	form := v.get(t, s.url)
	form.want(t, 200, s.issuer+"/authorize?", "After the sign-in you go back to <code>"+s.url)
	return v.post(t, form.at, credentials(name, password))
}

func credentials(name, password string) url.Values {
	return url.Values{"username": {name}, "password": {password}}
}

func TestLogin(t *testing.T) {
	s, v := start(t), newVisitor(t)
	form := v.get(t, s.a.url)
	for _, wrong := range []url.Values{credentials("alice", adaPassword), credentials("bob", alicePassword), {}} {
		v.post(t, form.at, wrong).want(t, 403, form.at, "Wrong name or password.")
	}
	v.post(t, form.at, credentials("alice", alicePassword)).want(t, 200, s.a.url+"/", "Hello, alice")
	v.get(t, s.b.url).want(t, 200, s.b.url+"/", "Hello, alice")
	v.get(t, s.a.url).want(t, 200, s.a.url+"/", "Hello, alice")
	v.get(t, s.idp.url).want(t, 200, s.idp.url, "Signed in as alice")

	newVisitor(t).get(t, s.a.url).want(t, 200, s.idp.url+"/authorize?", "Sign in")
	a := v.cookie(t, s.a.url, "__Host-a")
	if b := v.cookie(t, s.b.url, "__Host-b"); a == "" || b == "" || a == b {
		t.Error("the sites do not have separate tokens")
	}
	parsed, _, err := jwt.NewParser().ParseUnverified(a, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	c := parsed.Claims.(jwt.MapClaims)
	for _, name := range []string{"iss", "sub", "aud", "sid", "client_id", "jti", "iat", "exp"} {
		if c[name] == nil {
			t.Errorf("no %s in the token", name)
		}
	}
	if parsed.Header["typ"] != "at+jwt" || parsed.Header["alg"] != "ES256" || c["client_id"] != "a" {
		t.Errorf("header %v, claims %v", parsed.Header, c)
	}
	if c["sid"] == v.cookie(t, s.idp.url, sessionCookie) {
		t.Error("the sid is the cookie of the identity service")
	}
}

func TestLogin_cookies(t *testing.T) {
	s, v := start(t), newVisitor(t)
	form := v.get(t, s.a.url)
	back := v.step(t, form.at, credentials("alice", alicePassword))
	end := v.step(t, back.header.Get("Location"), nil)
	for _, a := range []answer{v.step(t, s.b.url, nil), back, end} {
		if a.status != http.StatusSeeOther || len(a.header.Values("Set-Cookie")) == 0 {
			t.Errorf("%d at %s, without a cookie", a.status, a.at)
		}
		for _, c := range a.header.Values("Set-Cookie") {
			if !strings.HasPrefix(c, "__Host-") || !strings.Contains(c, "; Path=/; ") || !strings.HasSuffix(c, "; HttpOnly; Secure; SameSite=Lax") {
				t.Errorf("cookie %s", c)
			}
		}
	}
}

// begin begins a sign-in and returns the code, the verifier, and the answer of the
// identity service.
func (v *visitor) begin(t *testing.T, s *site) (code, verifier string, back answer) {
	t.Helper()
	there := v.step(t, s.url, nil).header.Get("Location")
	_, verifier, _ = strings.Cut(v.cookie(t, s.url, s.beganCookie), ".")
	back = v.step(t, there, nil)
	to, err := url.Parse(back.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return to.Query().Get("code"), verifier, back
}

func TestToken(t *testing.T) {
	s, v := start(t), newVisitor(t)
	v.signIn(t, s.b, "alice", alicePassword)
	for _, test := range []struct {
		name   string
		field  string
		value  string
		expire bool
		want   int
	}{
		{"as requested", "client_id", "a", false, 200},
		{"for another site", "client_id", "b", false, 400},
		{"for another address", "redirect_uri", s.b.url + "/callback", false, 400},
		{"for no address", "redirect_uri", "", false, 400},
		{"with another verifier", "code_verifier", strings.Repeat("v", 52), false, 400},
		{"without a verifier", "code_verifier", "", false, 400},
		{"with another code", "code", "AAAA", false, 400},
		{"with another kind of grant", "grant_type", "password", false, 400},
		{"too late", "client_id", "a", true, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, verifier, _ := v.begin(t, s.a)
			form := url.Values{
				"grant_type": {"authorization_code"}, "code": {code}, "client_id": {"a"},
				"redirect_uri": {s.a.url + "/callback"}, "code_verifier": {verifier},
			}
			form.Set(test.field, test.value)
			if test.expire {
				s.idp.mu.Lock()
				g := s.idp.codes[code]
				g.expires = time.Now().Add(-time.Second)
				s.idp.codes[code] = g
				s.idp.mu.Unlock()
			}
			a := v.post(t, s.idp.url+"/token", form)
			a.want(t, test.want, "", "")
			if strings.Contains(a.body, "eyJ") != (test.want == 200) {
				t.Errorf("answer %s", a.body)
			}
			if test.field != "code" { // the code is no longer valid
				form.Set(test.field, map[string]string{
					"client_id": "a", "redirect_uri": s.a.url + "/callback", "code_verifier": verifier, "grant_type": "authorization_code",
				}[test.field])
				v.post(t, s.idp.url+"/token", form).want(t, 400, "", "invalid_grant")
			}
		})
	}
}

func TestAuthorize(t *testing.T) {
	s, v := start(t), newVisitor(t)
	v.signIn(t, s.a, "alice", alicePassword)
	good := url.Values{
		"response_type": {"code"}, "client_id": {"a"}, "redirect_uri": {s.a.url + "/callback"},
		"state": {"s"}, "code_challenge": {challengeOf("v")}, "code_challenge_method": {"S256"},
	}
	if a := v.step(t, s.idp.url+"/authorize?"+good.Encode(), nil); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), s.a.url+"/callback?code=") {
		t.Fatalf("as registered: %d", a.status)
	}
	for _, test := range []struct{ name, field, value string }{
		{"an unknown one", "redirect_uri", "https://evil.example/callback"},
		{"the other site's", "redirect_uri", s.b.url + "/callback"},
		{"a longer path", "redirect_uri", s.a.url + "/callback/more"},
		{"one with a query", "redirect_uri", s.a.url + "/callback?x=y"},
		{"another name of the host", "redirect_uri", strings.Replace(s.a.url, "127.0.0.1", "localhost", 1) + "/callback"},
		{"none", "redirect_uri", ""},
		{"an unknown site", "client_id", "c"},
		{"no site", "client_id", ""},
		{"no state", "state", ""},
		{"no challenge", "code_challenge", ""},
		{"a plain challenge", "code_challenge_method", "plain"},
		{"a token at once", "response_type", "token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			q, err := url.ParseQuery(good.Encode())
			if err != nil {
				t.Fatal(err)
			}
			q.Set(test.field, test.value)
			for _, form := range []url.Values{nil, credentials("alice", alicePassword)} {
				a := v.step(t, s.idp.url+"/authorize?"+q.Encode(), form)
				a.want(t, 400, "", "Invalid link")
				if to := a.header.Get("Location"); to != "" {
					t.Errorf("sent to %s", to)
				}
			}
		})
	}
}

func TestCallback_state(t *testing.T) {
	s, mallory, v := start(t), newVisitor(t), newVisitor(t)
	mallory.signIn(t, s.b, "ada", adaPassword)
	_, _, back := mallory.begin(t, s.a)
	link := back.header.Get("Location")

	// Mallory's link would sign the victim in as Mallory.
	v.get(t, link).want(t, 400, link, "This browser did not begin that sign-in")
	v.step(t, s.a.url, nil) // also if the victim has begun a sign-in
	v.get(t, link).want(t, 400, link, "This browser did not begin that sign-in")
	for _, state := range []string{"", "wrong"} {
		u := regexp.MustCompile(`state=\w+`).ReplaceAllString(link, "state="+state)
		mallory.get(t, u).want(t, 400, u, "This browser did not begin that sign-in")
	}
	if v.cookie(t, s.a.url, "__Host-a") != "" {
		t.Error("the victim has a token")
	}
	mallory.get(t, link).want(t, 200, s.a.url+"/", "Hello, ada")
	mallory.get(t, link).want(t, 400, link, "Not signed in") // once

	// With the right state but a made-up code.
	v.step(t, s.a.url, nil)
	state, _, _ := strings.Cut(v.cookie(t, s.a.url, s.a.beganCookie), ".")
	v.get(t, s.a.url+"/callback?code=made-up&state="+state).want(t, 502, "", "gave no token")
}

func TestSite_audience(t *testing.T) {
	s, v := start(t), newVisitor(t)
	v.signIn(t, s.a, "alice", alicePassword)
	token := v.cookie(t, s.a.url, "__Host-a")
	stranger := newVisitor(t)
	stranger.get(t, s.a.url, "Authorization", "Bearer "+token).want(t, 200, s.a.url+"/", "Hello, alice")
	stranger.get(t, s.b.url, "Authorization", "Bearer "+token).want(t, 401, s.b.url, "invalid_token")
	if !strings.Contains(s.log.String(), "reason=audience") {
		t.Error("the reason is not the audience")
	}
	// As a cookie of site B it leads to the login.
	stranger.get(t, s.b.url, "Cookie", "__Host-b="+token).want(t, 200, s.idp.url+"/authorize?", "Sign in")
}

func TestRefuse_deletesCookie(t *testing.T) {
	s, v := start(t), newVisitor(t)
	v.signIn(t, s.a, "alice", alicePassword)
	token := v.cookie(t, s.a.url, "__Host-a")
	stranger := newVisitor(t)
	for _, test := range []struct {
		name    string
		fields  []string
		status  int
		deleted bool
	}{
		{"an invalid cookie", []string{"Cookie", "__Host-a=x.y.z", "Accept", "application/json"}, 401, true},
		{"two cookies", []string{"Cookie", "__Host-a=" + token + "; __Host-a=" + token}, 400, true},
		{"an invalid header and a good cookie", []string{"Cookie", "__Host-a=" + token, "Authorization", "Bearer x.y.z"}, 401, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := stranger.get(t, s.a.url, test.fields...)
			a.want(t, test.status, s.a.url, "")
			if deleted := strings.HasPrefix(a.header.Get("Set-Cookie"), "__Host-a=; "); deleted != test.deleted {
				t.Errorf("Set-Cookie %q", a.header.Get("Set-Cookie"))
			}
		})
	}
	a := v.post(t, s.a.url+"/logout", url.Values{}, "Sec-Fetch-Site", "cross-site")
	a.want(t, 403, s.a.url, "cross_origin")
	if v.cookie(t, s.a.url, "__Host-a") != token {
		t.Error("a cross-origin request deletes the cookie")
	}
}

// logoutTokenFor returns the logout token for a site, with changes.
func (s *trio) logoutTokenFor(to *site, sid string, change func(*logoutClaims)) logoutClaims {
	now := time.Now()
	c := logoutClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.idp.url, Audience: jwt.ClaimStrings{to.url}, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
		},
		SessionID: sid,
		Events:    map[string]json.RawMessage{logoutEvent: json.RawMessage("{}")},
	}
	if change != nil {
		change(&c)
	}
	return c
}

func (s *trio) sign(t *testing.T, typ string, c jwt.Claims) string {
	t.Helper()
	token, err := s.idp.keys.sign(typ, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestBackchannelLogout(t *testing.T) {
	s, v := start(t), newVisitor(t)
	v.signIn(t, s.a, "alice", alicePassword)
	access := v.cookie(t, s.a.url, "__Host-a")
	var c claims
	if _, _, err := jwt.NewParser().ParseUnverified(access, &c); err != nil {
		t.Fatal(err)
	}
	good := s.sign(t, logoutToken, s.logoutTokenFor(s.a, c.SessionID, nil))
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := jwt.NewWithClaims(jwt.SigningMethodES256, s.logoutTokenFor(s.a, c.SessionID, nil))
	forged.Header["typ"], forged.Header["kid"] = logoutToken, s.idp.keys.published()[0].id
	forgedText, err := forged.SignedString(stranger)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*logoutClaims)) []string {
		return []string{s.sign(t, logoutToken, s.logoutTokenFor(s.a, c.SessionID, change))}
	}
	nonce := "n"
	for _, test := range []struct {
		name   string
		tokens []string
		want   int
		reason string
	}{
		{"none", nil, 400, "want one logout_token"},
		{"two", []string{good, good}, 400, "want one logout_token"},
		{"an access token", []string{access}, 400, "jwthttp: type"},
		{"a forged one", []string{forgedText}, 400, "jwthttp: signature"},
		{"one of an unknown type", []string{s.sign(t, "x+jwt", s.logoutTokenFor(s.a, c.SessionID, nil))}, 400, "jwthttp: type"},
		{"one for the other site", []string{s.sign(t, logoutToken, s.logoutTokenFor(s.b, c.SessionID, nil))}, 400, "jwthttp: audience"},
		{"one of another issuer", changed(func(c *logoutClaims) { c.Issuer = s.b.url }), 400, "jwthttp: issuer"},
		{"an old one", changed(func(c *logoutClaims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-2 * leeway)) }), 400, "jwthttp: expired"},
		{"one without a session", changed(func(c *logoutClaims) { c.SessionID = "" }), 400, "is empty"},
		{"one without the event", changed(func(c *logoutClaims) { c.Events = nil }), 400, "no logout event"},
		{"one with a nonce", changed(func(c *logoutClaims) { c.Nonce = &nonce }), 400, "nonce"},
		{"a good one", []string{good}, 200, ""},
		{"a good one again", []string{good}, 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(s.log.String())
			got := v.post(t, s.a.url+"/backchannel-logout", url.Values{"logout_token": test.tokens})
			got.want(t, test.want, "", "")
			if c := got.header.Get("Cache-Control"); !strings.Contains(c, "no-store") {
				t.Errorf("Cache-Control: %s", c)
			}
			if !strings.Contains(s.log.String()[before:], test.reason) {
				t.Errorf("want the reason %q:\n%s", test.reason, s.log.String()[before:])
			}
			if a := v.step(t, s.a.url, nil); (a.status == 200) != (test.want != 200) {
				t.Errorf("the site answers %d", a.status)
			}
			// A rejected visit deletes the cookie.
			if u, err := url.Parse(s.a.url); err == nil {
				v.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-a", Value: access, Path: "/", Secure: true}})
			}
		})
	}
	// A token in the URL is not read.
	v.post(t, s.a.url+"/backchannel-logout?logout_token="+good, url.Values{}).want(t, 400, "", "")
	v.post(t, s.a.url+"/backchannel-logout", url.Values{"logout_token": {strings.Repeat("x", 20<<10)}}).want(t, 400, "", "invalid_request")
	v.get(t, s.b.url, "Authorization", "Bearer "+s.sign(t, logoutToken, s.logoutTokenFor(s.b, "any", nil))).want(t, 401, "", "invalid_token")
}

func TestLogout(t *testing.T) {
	for _, from := range []string{"site A", "site B", "the identity service"} {
		t.Run(from, func(t *testing.T) {
			s, v, phone := start(t), newVisitor(t), newVisitor(t)
			v.signIn(t, s.a, "alice", alicePassword)
			v.get(t, s.b.url).want(t, 200, s.b.url+"/", "Hello, alice")
			phone.signIn(t, s.a, "alice", alicePassword)
			tokens := map[*site]string{s.a: v.cookie(t, s.a.url, "__Host-a"), s.b: v.cookie(t, s.b.url, "__Host-b")}
			code, verifier, _ := func() (string, string, answer) { // under way
				c := newVisitor(t)
				u, _ := url.Parse(s.idp.url)
				c.Jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: v.cookie(t, s.idp.url, sessionCookie), Path: "/", Secure: true}})
				return c.begin(t, s.a)
			}()

			switch from {
			case "site A":
				v.post(t, s.a.url+"/logout", url.Values{}).want(t, 200, s.a.url+"/signed-out", "signed out of both sites")
			case "site B":
				v.post(t, s.b.url+"/logout", url.Values{}).want(t, 200, s.b.url+"/signed-out", "signed out of both sites")
			default:
				v.post(t, s.idp.url+"/logout", url.Values{}).want(t, 200, s.idp.url+"/", "Not signed in")
			}
			for site, token := range tokens {
				v.get(t, site.url).want(t, 200, s.idp.url+"/authorize?", "Sign in")
				v.get(t, site.url, "Authorization", "Bearer "+token).want(t, 401, site.url, "invalid_token")
			}
			v.post(t, s.idp.url+"/token", url.Values{
				"grant_type": {"authorization_code"}, "code": {code}, "client_id": {"a"},
				"redirect_uri": {s.a.url + "/callback"}, "code_verifier": {verifier},
			}).want(t, 400, "", "invalid_grant")

			// Another session of the user is still valid, and she can sign in again.
			phone.get(t, s.a.url).want(t, 200, s.a.url+"/", "Hello, alice")
			phone.get(t, s.b.url).want(t, 200, s.b.url+"/", "Hello, alice")
			v.signIn(t, s.b, "alice", alicePassword).want(t, 200, s.b.url+"/", "Hello, alice")
		})
	}
}

// A program's token is refused at the second instance, too, and the page says when.
func TestLogout_program(t *testing.T) {
	row := regexp.MustCompile(`<td>(Site [AB][^<]*)</td><td>([^<]+)</td>`)
	for _, from := range []string{"site A", "the identity service"} {
		t.Run(from, func(t *testing.T) {
			s, v := start(t), newVisitor(t)
			v.signIn(t, s.a, "alice", alicePassword)
			v.get(t, s.b.url).want(t, 200, s.b.url+"/", "Hello, alice")
			for _, site := range []*site{s.a, s.b} {
				v.post(t, site.url+"/program", url.Values{}).want(t, 200, site.url+"/", "A program uses your token at <code>"+site.program.url)
			}
			token := v.cookie(t, s.a.url, "__Host-a")
			second := func() answer { return newVisitor(t).get(t, s.a.program.url+"/me", "Authorization", "Bearer "+token) }
			second().want(t, 200, "", "alice")
			at, page := s.a.url, answer{}
			if from != "site A" {
				at = s.idp.url
			}
			page = v.post(t, at+"/logout", url.Values{})
			rows := row.FindAllStringSubmatch(page.body, -1)
			if len(rows) != 4 {
				t.Fatalf("%d rows in %s", len(rows), page.body)
			}
			for _, r := range rows {
				t.Logf("%s: after %s", r[1], r[2])
			}
			second().want(t, 401, "", "invalid_token")
		})
	}
}

func TestLogout_unreachable(t *testing.T) {
	s, v := start(t), newVisitor(t)
	s.a.cfg.board.patience = time.Millisecond
	v.signIn(t, s.a, "alice", alicePassword)
	v.get(t, s.b.url).want(t, 200, s.b.url+"/", "Hello, alice")
	s.servers[2].Close()
	v.post(t, s.a.url+"/logout", url.Values{}).want(t, 200, s.a.url+"/signed-out?here-only&session=", "could not tell the other site")
	v.get(t, s.a.url).want(t, 200, s.idp.url+"/authorize?", "Sign in")
	v.signIn(t, s.a, "alice", alicePassword)
	v.post(t, s.idp.url+"/logout", url.Values{}).want(t, 502, s.idp.url, "a site could not be told. Its tokens are valid for up to 1m0s.")

	s.servers[0].Close()
	v.get(t, s.a.url+"/signed-out").want(t, 200, "", "Signed out")
}

func TestLogout_withoutToken(t *testing.T) {
	s, v := start(t), newVisitor(t)
	v.signIn(t, s.a, "alice", alicePassword)
	v.post(t, s.b.url+"/logout", url.Values{}).want(t, 200, s.idp.url, "Signed in as alice")
}

// The identity service gives tokens that the site rejects, as after a logout that
// the identity service could not be told of. The browser must not loop.
func TestCallback_rejectedToken(t *testing.T) {
	s, v := start(t), newVisitor(t)
	v.signIn(t, s.b, "alice", alicePassword)
	if err := s.a.ended.Revoke(t.Context(), revocation.Entry{Kind: revocation.BySubject, Issuer: s.idp.url, Value: "alice", IssuedUntil: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	v.get(t, s.a.url).want(t, 502, s.a.url+"/callback", "gave no token for this site")
	if v.cookie(t, s.a.url, "__Host-a") != "" {
		t.Error("the browser has a token")
	}
}

func TestServices_crossOrigin(t *testing.T) {
	s, v := start(t), newVisitor(t)
	form := v.get(t, s.a.url)
	v.signIn(t, s.a, "ada", adaPassword)
	for _, from := range []string{"cross-site", "same-site"} {
		for _, to := range []string{form.at, s.idp.url + "/rotate", s.idp.url + "/logout", s.a.url + "/logout"} {
			v.post(t, to, credentials("alice", alicePassword), "Sec-Fetch-Site", from).want(t, 403, to, "")
		}
	}
	v.get(t, s.a.url).want(t, 200, s.a.url+"/", "Hello, ada")
	if n := len(s.idp.keys.published()); n != 1 {
		t.Errorf("%d keys", n)
	}
}

func TestRotate(t *testing.T) {
	s, alice, ada := start(t), newVisitor(t), newVisitor(t)
	alice.signIn(t, s.a, "alice", alicePassword)
	ada.signIn(t, s.a, "ada", adaPassword)
	for _, v := range []*visitor{alice, newVisitor(t)} {
		v.post(t, s.idp.url+"/rotate", url.Values{}).want(t, 403, "", "Only an admin")
	}
	ada.post(t, s.idp.url+"/rotate", url.Values{}).want(t, 200, s.idp.url+"/", "signs soon")
	ada.post(t, s.idp.url+"/rotate", url.Values{}).want(t, 409, "", "is not in use yet")
}

func TestServices_hostNames(t *testing.T) {
	s, v := start(t), newVisitor(t)
	for _, u := range []string{s.idp.url, s.a.url, s.b.url} {
		a := v.step(t, strings.Replace(u, "127.0.0.1", "localhost", 1)+"/callback?code=x", nil)
		if a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != u+"/" {
			t.Errorf("%d to %q", a.status, a.header.Get("Location"))
		}
		if csp := v.get(t, u+"/style.css").header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'self';") {
			t.Errorf("policy %q", csp)
		}
	}
}

// TestRotate_underLoad rotates the key twice. Meanwhile visitors sign in at both
// sites, one visitor uses old tokens, and an attacker sends unknown key IDs, which
// uses up the fetches that MinInterval allows.
func TestRotate_underLoad(t *testing.T) {
	s, ada, keeper := start(t), newVisitor(t), newVisitor(t)
	ada.signIn(t, s.a, "ada", adaPassword)
	keeper.signIn(t, s.a, "alice", alicePassword)
	keeper.get(t, s.b.url).want(t, 200, s.b.url+"/", "Hello, alice")

	ctx, stop := context.WithCancel(t.Context())
	var requests, nonsense atomic.Int64
	type visit struct {
		site *site
		kid  string
		err  error
	}
	visits := make(chan visit)
	report := func(v visit) bool {
		select {
		case visits <- v:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	shownKey := regexp.MustCompile(`id="kid">(\w+)<`)
	visitOnce := func(v *visitor, at *site) visit {
		a, err := v.try(at.url, nil)
		kid := shownKey.FindStringSubmatch(a.body)
		if err == nil && (a.status != 200 || kid == nil) {
			err = fmt.Errorf("%d at %s: %s", a.status, a.at, a.body)
		}
		if err != nil {
			return visit{at, "", err}
		}
		return visit{at, kid[1], nil}
	}
	idp, err := url.Parse(s.idp.url)
	if err != nil {
		t.Fatal(err)
	}
	session := keeper.cookie(t, s.idp.url, sessionCookie)
	for range 2 { // each visit gets its own token
		load.Go(func() {
			for n := 0; ; n++ {
				jar, _ := cookiejar.New(nil)
				v := &visitor{Client: http.Client{Jar: loopbackJar{jar}}, ctx: t.Context(), requests: &requests}
				v.Jar.SetCookies(idp, []*http.Cookie{{Name: sessionCookie, Value: session, Path: "/", Secure: true}})
				if !report(visitOnce(v, []*site{s.a, s.b}[n%2])) {
					return
				}
			}
		})
	}
	keeper.requests = &requests
	keeper.ctx = t.Context()
	first := s.idp.keys.published()[0].id
	load.Go(func() { // the old tokens
		for n := 0; ; n++ {
			v := visitOnce(keeper, []*site{s.a, s.b}[n%2])
			if v.err == nil && v.kid != first {
				v.err = fmt.Errorf("the old token was lost, the new one is of %s", v.kid)
			}
			v.kid = ""
			if !report(v) {
				return
			}
		}
	})
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	load.Go(func() { // keys that do not exist
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		v := &visitor{ctx: t.Context(), requests: &nonsense}
		for n := 0; ; n++ {
			at := []*site{s.a, s.b}[n%2]
			token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": s.idp.url, "aud": at.url, "exp": time.Now().Add(time.Hour).Unix()})
			token.Header["typ"], token.Header["kid"] = accessToken, rand.Text()
			text, err := token.SignedString(stranger)
			if err == nil {
				var a answer
				if a, err = v.try(at.url, nil, "Authorization", "Bearer "+text); err == nil && a.status != 401 {
					err = fmt.Errorf("an unknown key ID is answered with %d", a.status)
				}
			}
			if err != nil && !report(visit{at, "", err}) {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})

	deadline := time.After(30 * time.Second)
	used := map[string]bool{first: true}
	for rotation := range 3 {
		seen := map[*site]bool{}
		for enough := 0; len(seen) < 2 || enough < 50; enough++ {
			select {
			case v := <-visits:
				if v.err != nil {
					t.Fatalf("after %d rotations, %d requests: %v", rotation, requests.Load(), v.err)
				}
				if keys := s.idp.keys.published(); v.kid == keys[len(keys)-1].id {
					seen[v.site], used[v.kid] = true, true
				}
			case <-deadline:
				t.Fatal("the new key is not used")
			}
		}
		if rotation < 2 {
			ada.post(t, s.idp.url+"/rotate", url.Values{}).want(t, 200, s.idp.url+"/", "signs soon")
		}
	}
	if len(used) != 3 {
		t.Errorf("%d keys were used", len(used))
	}
	t.Logf("%d requests, none rejected, and %d with unknown key IDs", requests.Load(), nonsense.Load())
}
