package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

const callback = "http://127.0.0.1/callback"

// login is a running authorization server with one client.
type login struct {
	*testing.T
	as     *authServer
	client string
}

func startLogin(t *testing.T) *login {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	as, err := newAuthServer("http://"+server.Listener.Addr().String(), "https://api.example/mcp")
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = as.handler()
	server.Start()
	l := &login{T: t, as: as}
	_, answer := l.register(`{"redirect_uris": ["` + callback + `"], "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"]}`)
	l.client = answer["client_id"].(string)
	return l
}

func (l *login) send(r *http.Request, err error) (*http.Response, map[string]any) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	answer := map[string]any{}
	_ = json.NewDecoder(resp.Body).Decode(&answer) // some answers have no JSON
	return resp, answer
}

func (l *login) register(body string) (status int, answer map[string]any) {
	l.Helper()
	resp, answer := l.send(http.NewRequestWithContext(l.Context(), "POST", l.as.url+"/register", strings.NewReader(body)))
	return resp.StatusCode, answer
}

// changed returns a copy of the parameters with changes; "" removes one.
func changed(q url.Values, changes map[string]string) url.Values {
	q = maps.Clone(q)
	for name, value := range changes {
		q.Del(name)
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// authorize returns the status and the parameters of the redirect.
func (l *login) authorize(verifier string, changes map[string]string) (int, url.Values) {
	l.Helper()
	q := changed(url.Values{
		"response_type": {"code"}, "client_id": {l.client}, "redirect_uri": {callback}, "state": {"s"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
		"resource": {l.as.resource}, "scope": {scopeUse},
	}, changes)
	resp, _ := l.send(http.NewRequestWithContext(l.Context(), "GET", l.as.url+"/authorize?"+q.Encode(), nil))
	back, err := resp.Location()
	if err != nil {
		return resp.StatusCode, nil
	}
	if !strings.HasPrefix(back.String(), callback+"?") {
		l.Errorf("sent to %s", back)
	}
	return resp.StatusCode, back.Query()
}

func (l *login) token(form url.Values) (status int, answer map[string]any) {
	l.Helper()
	r, err := http.NewRequestWithContext(l.Context(), "POST", l.as.url+"/token", strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, answer := l.send(r, err)
	return resp.StatusCode, answer
}

func (l *login) exchange(verifier, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier},
		"redirect_uri": {callback}, "client_id": {l.client}, "resource": {l.as.resource},
	}
}

// expires returns the end of the grant of a code or refresh token.
func (l *login) expires(secret string) time.Time {
	l.as.mu.Lock()
	defer l.as.mu.Unlock()
	return l.as.grants[secret].expires
}

func TestAuthServer_register(t *testing.T) {
	l := startLogin(t)
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"a client on this machine", `{"redirect_uris": ["http://localhost:6274/oauth/callback"], "token_endpoint_auth_method": "none"}`, 201},
		{"another host", `{"redirect_uris": ["https://evil.example/callback"], "token_endpoint_auth_method": "none"}`, 400},
		{"a host that begins with 127.0.0.1", `{"redirect_uris": ["http://127.0.0.1.evil.example/"], "token_endpoint_auth_method": "none"}`, 400},
		{"a host after a user", `{"redirect_uris": ["http://127.0.0.1@evil.example/"], "token_endpoint_auth_method": "none"}`, 400},
		{"one good URI of two", `{"redirect_uris": ["http://localhost/", "https://evil.example/"], "token_endpoint_auth_method": "none"}`, 400},
		{"a user", `{"redirect_uris": ["http://user@127.0.0.1/"], "token_endpoint_auth_method": "none"}`, 400},
		{"an empty fragment", `{"redirect_uris": ["http://127.0.0.1/#"], "token_endpoint_auth_method": "none"}`, 400},
		{"a URI that is too long", `{"redirect_uris": ["http://127.0.0.1/` + strings.Repeat("x", 64<<10) + `"], "token_endpoint_auth_method": "none"}`, 400},
		{"a script", `{"redirect_uris": ["javascript:alert(1)"], "token_endpoint_auth_method": "none"}`, 400},
		{"no redirect URI", `{"token_endpoint_auth_method": "none"}`, 400},
		{"a client with a secret", `{"redirect_uris": ["http://localhost/"]}`, 400},
		{"not JSON", `hello`, 400},
	} {
		if status, answer := l.register(test.body); status != test.status {
			t.Errorf("%s: %d, %v", test.name, status, answer)
		}
	}
	l.as.mu.Lock()
	for range maxClients {
		l.as.clients[oauth2.GenerateVerifier()] = registration{}
	}
	l.as.mu.Unlock()
	if status, _ := l.register(`{"redirect_uris": ["http://localhost/"], "token_endpoint_auth_method": "none"}`); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", status)
	}
}

func TestAuthServer_authorize(t *testing.T) {
	l := startLogin(t)
	for _, test := range []struct {
		name    string
		changes map[string]string
		status  int
		code    string
	}{
		{"a good request", nil, 302, ""},
		{"an unknown client", map[string]string{"client_id": "unknown"}, 400, ""},
		{"an unknown redirect URI", map[string]string{"redirect_uri": callback + "2"}, 400, ""},
		{"no PKCE", map[string]string{"code_challenge": "", "code_challenge_method": ""}, 302, "invalid_request"},
		{"no challenge", map[string]string{"code_challenge": ""}, 302, "invalid_request"},
		{"plain PKCE", map[string]string{"code_challenge_method": "plain"}, 302, "invalid_request"},
		{"no resource", map[string]string{"resource": ""}, 302, "invalid_target"},
		{"another resource", map[string]string{"resource": "https://other.example/mcp"}, 302, "invalid_target"},
		{"an unknown scope", map[string]string{"scope": "tools:use admin"}, 302, "invalid_scope"},
		{"no scope", map[string]string{"scope": ""}, 302, "invalid_scope"},
		{"all scopes", map[string]string{"scope": bothTools}, 302, ""},
		{"a repeated scope", map[string]string{"scope": scopeUse + " " + scopeUse}, 302, "invalid_scope"},
		{"a scope with many spaces", map[string]string{"scope": scopeUse + strings.Repeat(" ", 200)}, 302, "invalid_scope"},
		{"another flow", map[string]string{"response_type": "token"}, 302, "unsupported_response_type"},
	} {
		status, back := l.authorize(oauth2.GenerateVerifier(), test.changes)
		if status != test.status || back.Get("error") != test.code || (back.Get("code") != "") != (test.status == 302 && test.code == "") {
			t.Errorf("%s: %d, %v", test.name, status, back)
		}
		if status == 302 && (back.Get("state") != "s" || back.Get("iss") != l.as.url) {
			t.Errorf("%s: %v", test.name, back)
		}
	}
}

func TestAuthServer_grantLimit(t *testing.T) {
	l := startLogin(t)
	verifier := oauth2.GenerateVerifier()
	_, back := l.authorize(verifier, nil)
	fill := func(expires time.Time) {
		l.as.mu.Lock()
		defer l.as.mu.Unlock()
		for i := range maxGrants {
			l.as.grants[strconv.Itoa(i)] = grant{expires: expires}
		}
	}
	fill(time.Now().Add(time.Hour))
	if status, refused := l.authorize(verifier, nil); status != 302 || refused.Get("error") != "temporarily_unavailable" || refused.Get("code") != "" {
		t.Errorf("one too many: %d, %v", status, refused)
	}
	status, answer := l.token(l.exchange(verifier, back.Get("code")))
	if status != 200 || answer["access_token"] == nil || answer["refresh_token"] != nil {
		t.Errorf("a refresh token too many: %d, %v", status, answer)
	}
	fill(time.Now().Add(-time.Second))
	if status, back := l.authorize(verifier, nil); status != 302 || back.Get("code") == "" {
		t.Errorf("after their end: %d, %v", status, back)
	}
	if got := len(l.as.grants); got != 1 {
		t.Errorf("%d grants are left", got)
	}
}

func TestAuthServer_longHeader(t *testing.T) {
	issuer, err := startAuthServer(t.Context(), "https://api.example/mcp", false, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ length, want int }{{16 << 10, 200}, {64 << 10, 431}} {
		l := &login{T: t}
		r, err := http.NewRequestWithContext(t.Context(), "GET", issuer+"/keys?"+strings.Repeat("x", tt.length), nil)
		if resp, _ := l.send(r, err); resp.StatusCode != tt.want {
			t.Errorf("%d bytes: %d, want %d", tt.length, resp.StatusCode, tt.want)
		}
	}
}

func TestAuthServer_codes(t *testing.T) {
	l := startLogin(t)
	for _, test := range []struct {
		name    string
		changes map[string]string
		status  int
		code    any
	}{
		{"a good request", nil, 200, nil},
		{"another verifier", map[string]string{"code_verifier": oauth2.GenerateVerifier()}, 400, "invalid_grant"},
		{"another client", map[string]string{"client_id": "another"}, 400, "invalid_grant"},
		{"another redirect URI", map[string]string{"redirect_uri": callback + "2"}, 400, "invalid_grant"},
		{"another resource", map[string]string{"resource": "https://other.example/mcp"}, 400, "invalid_target"},
		{"no resource", map[string]string{"resource": ""}, 400, "invalid_target"},
		{"a form that is too long", map[string]string{"padding": strings.Repeat("x", 64<<10)}, 400, "unsupported_grant_type"},
		{"another grant type", map[string]string{"grant_type": "password"}, 400, "unsupported_grant_type"},
	} {
		verifier := oauth2.GenerateVerifier()
		_, back := l.authorize(verifier, nil)
		form := l.exchange(verifier, back.Get("code"))
		status, answer := l.token(changed(form, test.changes))
		if status != test.status || answer["error"] != test.code || (answer["access_token"] != nil) != (status == 200) {
			t.Errorf("%s: %d, %v", test.name, status, answer)
		}
		if test.code == "unsupported_grant_type" {
			continue // the code was not used
		}
		if status, answer := l.token(form); status != 400 || answer["error"] != "invalid_grant" {
			t.Errorf("%s: the code again: %d, %v", test.name, status, answer)
		}
	}
}

func TestAuthServer_expiredCode(t *testing.T) {
	l := startLogin(t)
	verifier := oauth2.GenerateVerifier()
	_, back := l.authorize(verifier, nil)
	l.as.mu.Lock()
	g := l.as.grants[back.Get("code")]
	g.expires = time.Now().Add(-time.Second)
	l.as.grants[back.Get("code")] = g
	l.as.mu.Unlock()
	if status, answer := l.token(l.exchange(verifier, back.Get("code"))); status != 400 {
		t.Errorf("%d, %v", status, answer)
	}
}

func TestAuthServer_grantTypes(t *testing.T) {
	l := startLogin(t)
	for _, test := range []struct {
		name, grantTypes string
		refresh          bool
	}{
		{"a client without grant types", ``, false},
		{"a client that never refreshes", `, "grant_types": ["authorization_code"]`, false},
		{"a client that refreshes", `, "grant_types": ["authorization_code", "refresh_token"]`, true},
	} {
		_, answer := l.register(`{"redirect_uris": ["` + callback + `"], "token_endpoint_auth_method": "none"` + test.grantTypes + `}`)
		l.client, _ = answer["client_id"].(string)
		granted, _ := answer["grant_types"].([]any)
		if slices.Contains(granted, any("refresh_token")) != test.refresh || !slices.Contains(granted, any("authorization_code")) {
			t.Errorf("%s: registered %v", test.name, granted)
		}
		verifier := oauth2.GenerateVerifier()
		_, back := l.authorize(verifier, nil)
		status, answer := l.token(l.exchange(verifier, back.Get("code")))
		if status != 200 || (answer["refresh_token"] != nil) != test.refresh {
			t.Errorf("%s: %d, refresh token %v", test.name, status, answer["refresh_token"] != nil)
		}
	}
}

func TestAuthServer_refreshTokens(t *testing.T) {
	l := startLogin(t)
	verifier := oauth2.GenerateVerifier()
	_, back := l.authorize(verifier, nil)
	_, answer := l.token(l.exchange(verifier, back.Get("code")))
	first, _ := answer["refresh_token"].(string)
	expires := l.expires(first)
	if left := time.Until(expires); left <= 0 || left > refreshLifetime {
		t.Errorf("it lives for %v", left)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first}, "client_id": {l.client}}
	status, answer := l.token(form)
	if status != 200 || answer["refresh_token"] == first || answer["scope"] != scopeUse {
		t.Fatalf("%d, %v", status, answer)
	}
	if status, _ := l.token(form); status != 400 {
		t.Errorf("the same one again: %d", status)
	}
	second := answer["refresh_token"].(string)
	if got := l.expires(second); !got.Equal(expires) {
		t.Errorf("the next one lives until %v, the first one until %v", got, expires)
	}
	if status, _ := l.token(l.exchange(verifier, second)); status != 400 {
		t.Errorf("as a code: %d", status)
	}
	_, back = l.authorize(verifier, nil)
	if status, _ := l.token(changed(form, map[string]string{"refresh_token": back.Get("code")})); status != 400 {
		t.Errorf("a code as a refresh token: %d", status)
	}
}
