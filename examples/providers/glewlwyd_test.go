package providers

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/testprogram"
)

// startGlewlwyd starts the server of Debian's package glewlwyd, and configures it by
// its API.
func startGlewlwyd(t *testing.T) *provider {
	const api = "https://api.example"
	g := runGlewlwyd(t)
	g.api(t, g.admin, http.MethodPost, "/api/auth/", map[string]any{"username": "admin", "password": "password"})
	g.rotate(t)
	g.api(t, g.admin, http.MethodPost, "/api/scope/", map[string]any{"name": scope, "display_name": scope, "description": scope, "password_required": false})
	for client, resource := range map[string]string{"web": api, "other": "https://other.example"} {
		g.api(t, g.admin, http.MethodPost, "/api/client/", map[string]any{
			"client_id": client, "name": client, "confidential": true, "enabled": true, "client_secret": secret, "password": secret,
			"redirect_uri": []string{redirect}, "authorization_type": []string{"code", "client_credentials"},
			"token_endpoint_auth_method": []string{"client_secret_basic"}, "scope": []string{scope}, "resource": []string{resource},
		})
	}
	g.api(t, g.admin, http.MethodPost, "/api/user/", map[string]any{
		"username": "alice", "password": "password", "name": "Alice", "enabled": true, "scope": []string{"openid", scope},
	})

	issuer := g.url + "/api/oidc"
	service := func(t *testing.T, client, resource string) string {
		t.Helper()
		return newFlow(t, issuer, client).token("client_credentials", url.Values{"scope": {scope}, "resource": {resource}}).Access
	}
	return &provider{
		issuer:   issuer,
		accepted: jwthttp.Issuer{Audience: []string{api}, Algorithms: []string{"RS256"}, Types: []string{"at+jwt"}},
		new:      jwthttp.New[jwt.RegisteredClaims],
		scopes:   []string{scope},
		login: func(t *testing.T) tokens {
			t.Helper()
			user := newFlow(t, issuer, "web")
			g.api(t, user, http.MethodPost, "/api/auth/", map[string]any{"username": "alice", "password": "password"})
			g.api(t, user, http.MethodPut, "/api/auth/grant/web", map[string]any{"scope": "openid " + scope})
			return user.login(url.Values{"scope": {"openid " + scope}, "resource": {api}, "g_continue": {""}}, nil)
		},
		service: func(t *testing.T) string { return service(t, "web", api) },
		foreign: func(t *testing.T) string { return service(t, "other", "https://other.example") },
		idToken: jwthttp.ReasonType,
		rotate:  g.rotate,
	}
}

// glewlwyd is a running server.
type glewlwyd struct {
	url   string
	admin *flow // signed in as the administrator
	keys  []jose.JSONWebKey
}

func runGlewlwyd(t *testing.T) *glewlwyd {
	t.Helper()
	program, sqlite := testprogram.Find(t, "glewlwyd"), testprogram.Find(t, "sqlite3")
	database := filepath.Join(t.TempDir(), "glewlwyd.db")
	schema := exec.CommandContext(t.Context(), "sh", "-c", `zcat /usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz | "$0" "$1"`, sqlite, database)
	if out, err := schema.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port := freePort(t)
	config := filepath.Join(t.TempDir(), "glewlwyd.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, glewlwydConfig, port, database), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "--config-file", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", &log)
		}
	})
	g := &glewlwyd{url: "http://127.0.0.1:" + strconv.Itoa(port)}
	g.admin = newFlow(t, g.url, "")
	g.wait(t)
	return g
}

// freePort returns a port that is not in use. The configuration must name the port, so
// another program may take it before the server does.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// wait returns when the server answers.
func (g *glewlwyd) wait(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/config", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.admin.browser.Do(r)
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal(err)
		}
	}
}

// api sends a message of JSON with the session of that browser.
func (g *glewlwyd) api(t *testing.T, browser *flow, method, path string, message map[string]any) {
	t.Helper()
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, g.url+path, bytes.NewReader(text))
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	browser.do(r, err)
}

// rotate gives the server a new key to sign with, and the older ones to publish.
func (g *glewlwyd) rotate(t *testing.T) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g.keys = append([]jose.JSONWebKey{{Key: key, KeyID: strconv.Itoa(len(g.keys)), Algorithm: "RS256", Use: "sig"}}, g.keys...)
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: g.keys})
	if err != nil {
		t.Fatal(err)
	}
	plugin := map[string]any{
		"module": "oidc", "name": "oidc", "display_name": "oidc", "order_rank": 0, "parameters": map[string]any{
			"iss": g.url + "/api/oidc", "jwks-private": string(private), "jwks-show": true,
			"jwt-type": "rsa", "jwt-key-size": "256", "subject-type": "public",
			"access-token-duration": 3600, "refresh-token-duration": 3600, "code-duration": 60,
			"allow-non-oidc": true, "auth-type-code-enabled": true, "auth-type-client-enabled": true,
			"resource-allowed": true, "resource-scope": map[string]any{}, "resource-client-property": "resource",
		},
	}
	if len(g.keys) == 1 {
		g.api(t, g.admin, http.MethodPost, "/api/mod/plugin/", plugin)
		return
	}
	g.api(t, g.admin, http.MethodPut, "/api/mod/plugin/oidc", plugin)
	g.api(t, g.admin, http.MethodPut, "/api/mod/plugin/oidc/reset", nil)
}

var glewlwydConfig = strings.ReplaceAll(`
port=%[1]d
bind_address="127.0.0.1"
external_url="http://127.0.0.1:%[1]d"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="INFO"
cookie_domain="127.0.0.1"
cookie_secure=0
session_key="GLEWLWYD2_SESSION_ID"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="LIB/user"
user_middleware_module_path="LIB/user_middleware"
client_module_path="LIB/client"
user_auth_scheme_module_path="LIB/scheme"
plugin_module_path="LIB/plugin"
hash_algorithm="SHA512"
database = { type = "sqlite3"  path = "%[2]s" };
`, "LIB", "/usr/lib/glewlwyd")
