package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	mcpauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

const (
	friend    = "https://inspector.example" // the origin that -allow-origin names
	bothTools = scopeUse + " orders:write"
)

func TestProgram(t *testing.T) {
	p := exampletest.Start(t)
	p.PasteLines(t)
	if got := p.Status(t, "POST", "/mcp"); got != http.StatusUnauthorized {
		t.Errorf("without a token: %d", got)
	}
	var out bytes.Buffer
	if err := runClient(t.Context(), p.URL+"/mcp", http.DefaultClient, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	p.End(t)
}

// site is a running resource and its authorization server.
type site struct {
	*testing.T
	as       *authServer
	server   *httptest.Server
	resource string
	gets     chan string // the Authorization of each GET of the resource
}

func start(t *testing.T, tools *mcp.Server) *site {
	t.Helper()
	return startWithLeeway(t, time.Nanosecond, tools) // a token ends at its exp
}

func startWithLeeway(t *testing.T, leeway time.Duration, tools *mcp.Server) *site {
	t.Helper()
	return startWith(t, leeway, nil, tools)
}

// startWith requires proofs unless used is nil.
func startWith(t *testing.T, leeway time.Duration, used *jwthttp.ReplayCache, tools *mcp.Server) *site {
	t.Helper()
	login := httptest.NewUnstartedServer(nil)
	t.Cleanup(login.Close)
	s := &site{T: t, server: httptest.NewUnstartedServer(nil), gets: make(chan string, 100)}
	t.Cleanup(s.server.Close)
	s.resource = "http://" + s.server.Listener.Addr().String() + "/mcp"
	var err error
	if s.as, err = newAuthServer("http://"+login.Listener.Addr().String(), s.resource); err != nil {
		t.Fatal(err)
	}
	s.as.used = used
	login.Config.Handler = s.as.handler()
	login.Start()
	handler, err := newResource(t.Context(), s.resource, s.as.url, friend, leeway, used != nil, tools)
	if err != nil {
		t.Fatal(err)
	}
	s.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/mcp" {
			s.gets <- r.Header.Get("Authorization")
		}
		handler.ServeHTTP(w, r)
	})
	s.server.Config.ReadTimeout = time.Second // shorter than a stream
	s.server.Config.WriteTimeout = time.Second
	s.server.Start()
	return s
}

// token returns a good token of user, changed by header and changes.
func (s *site) token(user, scope string, header map[string]any, changes jwt.MapClaims) string {
	s.Helper()
	claims := s.as.claims(grant{user: user, client: "test", scope: scope})
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	token, err := s.as.sign(header, claims)
	if err != nil {
		s.Fatal(err)
	}
	return token
}

// do sends a request to the resource. header is name and value in turn.
func (s *site) do(method, body string, header ...string) *http.Response {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.resource, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Host = r.Header.Get("Host")
	resp, err := s.server.Client().Do(r)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (s *site) text(resp *http.Response) string {
	s.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

const initialize = `{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}`

// open begins a session and returns its ID.
func (s *site) open(token string) string {
	s.Helper()
	resp := s.do("POST", initialize, "Authorization", "Bearer "+token)
	s.text(resp)
	id := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != http.StatusOK || id == "" {
		s.Fatalf("initialize: %d, session %q", resp.StatusCode, id)
	}
	resp = s.in(id, token, `{"jsonrpc": "2.0", "method": "notifications/initialized"}`)
	if resp.StatusCode != http.StatusAccepted {
		s.Fatalf("initialized: %d", resp.StatusCode)
	}
	return id
}

func (s *site) in(session, token, message string) *http.Response {
	s.Helper()
	return s.do("POST", message, "Authorization", "Bearer "+token, "Mcp-Session-Id", session)
}

func call(tool string) string {
	arguments := `{}`
	if tool == "create_order" {
		arguments = `{"item": "tea"}`
	}
	return `{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "` + tool + `", "arguments": ` + arguments + `}}`
}

func TestClient(t *testing.T) {
	s := start(t, newTools())
	var out bytes.Buffer
	if err := runClient(t.Context(), s.resource, http.DefaultClient, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"tool: create_order", `create_order: {"for":"alice","ordered":"tea"}`, `"subject":"alice"`, `"scopes":["tools:use"]`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	var asked []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "authorize: "+s.as.url+"/authorize?") {
			asked = append(asked, line)
		}
	}
	switch {
	case len(asked) != 2:
		t.Errorf("asked the user %d times, want 2: at first, and for orders:write", len(asked))
	case strings.Contains(asked[0], "orders%3Awrite"):
		t.Error("asked for orders:write before it was needed")
	case !strings.Contains(asked[1], "orders%3Awrite") || !strings.Contains(asked[1], "tools%3Ause"):
		t.Error("stepped up to something else than both scopes")
	}
	if t.Failed() {
		t.Logf("%s", &out)
	}
}

// TestSession_refresh uses the SDK's client with tokens that last two seconds. The
// stream ends with its token, and the client opens it again with another one.
func TestSession_refresh(t *testing.T) {
	s := start(t, newTools())
	s.as.lifetime = 2 * time.Second
	session, err := connect(t.Context(), s.resource, http.DefaultClient, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	first := receive(t, s.gets)
	if second := receive(t, s.gets); second == first || second == "" {
		t.Errorf("the second stream was asked for with %q", second)
	}
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami", Arguments: nothing{}})
	if err != nil || result.IsError {
		t.Errorf("%v, %+v", err, result)
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(15 * time.Second):
		t.Fatal("nothing came in 15 seconds")
		panic("unreachable")
	}
}

func TestResource_discovery(t *testing.T) {
	s := start(t, newTools())
	resp := s.do("POST", initialize)
	challenges, err := oauthex.ParseWWWAuthenticate(resp.Header.Values("WWW-Authenticate"))
	if err != nil || len(challenges) != 1 || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%d, %v, %v", resp.StatusCode, challenges, err)
	}
	if got := challenges[0].Params["scope"]; got != scopeUse {
		t.Errorf("scope %q", got)
	}
	// It fails unless the document names this resource.
	metadata, err := oauthex.GetProtectedResourceMetadata(t.Context(), challenges[0].Params["resource_metadata"], s.resource, s.server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(metadata.AuthorizationServers, []string{s.as.url}) || strings.HasPrefix(s.resource, s.as.url) {
		t.Errorf("authorization servers %q of %s", metadata.AuthorizationServers, s.resource)
	}
	server, err := mcpauth.GetAuthServerMetadata(t.Context(), metadata.AuthorizationServers[0], s.server.Client())
	if err != nil || server == nil || server.Issuer != s.as.url {
		t.Errorf("%+v, %v", server, err)
	}
}

func TestResource_tokens(t *testing.T) {
	s := start(t, newTools())
	other, err := newAuthServer("https://other.example", s.resource)
	if err != nil {
		t.Fatal(err)
	}
	foreign := func(claims jwt.MapClaims) string {
		all := other.claims(grant{user: "alice", scope: scopeUse})
		maps.Copy(all, claims)
		token, err := other.sign(nil, all)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, test := range []struct {
		name, token string
		status      int
		code        string
	}{
		{"a good token", s.token("alice", scopeUse, nil, nil), 200, ""},
		{"an expired token", s.token("alice", scopeUse, nil, jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()}), 401, "invalid_token"},
		{"a token without exp", s.token("alice", scopeUse, nil, jwt.MapClaims{"exp": nil}), 401, "invalid_token"},
		{"a token for another resource", s.token("alice", scopeUse, nil, jwt.MapClaims{"aud": s.server.URL + "/other"}), 401, "invalid_token"},
		{"a token for the origin instead of the resource", s.token("alice", scopeUse, nil, jwt.MapClaims{"aud": s.server.URL}), 401, "invalid_token"},
		{"a token of another issuer", foreign(nil), 401, "invalid_token"},
		{"a token in our issuer's name, signed by another", foreign(jwt.MapClaims{"iss": s.as.url}), 401, "invalid_token"},
		{"an ID token", s.token("alice", scopeUse, map[string]any{"typ": "JWT"}, nil), 401, "invalid_token"},
		{"a token without sub", s.token("", scopeUse, nil, jwt.MapClaims{"sub": nil}), 401, "invalid_token"},
		{"a token without the scope of the endpoint", s.token("alice", "orders:write", nil, nil), 403, "insufficient_scope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := s.do("POST", initialize, "Authorization", "Bearer "+test.token)
			text := s.text(resp)
			if resp.StatusCode != test.status {
				t.Errorf("status %d: %s", resp.StatusCode, text)
			}
			challenge := resp.Header.Get("WWW-Authenticate")
			if test.status != 200 && (!strings.Contains(challenge, `error="`+test.code+`"`) || !strings.Contains(challenge, `resource_metadata="`)) {
				t.Errorf("challenge %s", challenge)
			}
			if opened := resp.Header.Get("Mcp-Session-Id") != ""; opened != (test.status == 200) {
				t.Errorf("session opened: %v", opened)
			}
		})
	}
}

// The SDK checks the expiry again. Its ClockSkew must be that of jwthttp.
func TestResource_leeway(t *testing.T) {
	s := startWithLeeway(t, time.Minute, newTools())
	for _, test := range []struct {
		name   string
		ago    time.Duration
		status int
	}{
		{"a token that expired within the leeway", 10 * time.Second, 200},
		{"a token that expired before it", 2 * time.Minute, 401},
	} {
		token := s.token("alice", scopeUse, nil, jwt.MapClaims{"exp": time.Now().Add(-test.ago).Unix()})
		if resp := s.do("POST", initialize, "Authorization", "Bearer "+token); resp.StatusCode != test.status {
			t.Errorf("%s: %d, want %d", test.name, resp.StatusCode, test.status)
		}
	}
}

func TestSession_user(t *testing.T) {
	s := start(t, newTools())
	alice := s.token("alice", scopeUse, nil, nil)
	session := s.open(alice)
	mallory := s.token("mallory", bothTools, nil, nil)
	s.open(mallory) // her token can open a session
	for _, method := range []string{"POST", "GET", "DELETE"} {
		resp := s.do(method, call("whoami"), "Authorization", "Bearer "+mallory, "Mcp-Session-Id", session)
		if resp.StatusCode != http.StatusForbidden {
			t.Fatalf("%s with mallory's token in alice's session: %d", method, resp.StatusCode)
		}
	}
	for name, token := range map[string]string{"her": alice, "another of her": s.token("alice", scopeUse, nil, nil)} {
		resp := s.in(session, token, call("whoami"))
		if text := s.text(resp); resp.StatusCode != http.StatusOK || !strings.Contains(text, `"subject":"alice"`) {
			t.Errorf("alice with %s tokens: %d, %s", name, resp.StatusCode, text)
		}
	}
	if resp := s.do("DELETE", "", "Authorization", "Bearer "+alice, "Mcp-Session-Id", session); resp.StatusCode != http.StatusNoContent {
		t.Errorf("alice ends her session: %d", resp.StatusCode)
	}
}

func TestTokenInfo(t *testing.T) {
	seen := map[string]string{}
	for _, issuer := range []string{"https://a.example", "https://b.example"} {
		as, err := newAuthServer(issuer, "https://api.example/mcp")
		if err != nil {
			t.Fatal(err)
		}
		auth, err := jwthttp.New[claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
			Name: issuer, Audience: []string{as.resource}, Algorithms: []string{"ES256"}, Keys: jwthttp.StaticKey(&as.key.PublicKey),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := as.sign(nil, as.claims(grant{user: "alice", client: "test", scope: scopeUse}))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header.Set("Authorization", "Bearer "+raw)
		if r, err = auth.Authenticate(r); err != nil {
			t.Fatal(err)
		}
		info, err := tokenInfo(r.Context(), raw, r)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[info.UserID]; ok {
			t.Errorf("%s and %s: both %q", issuer, other, info.UserID)
		}
		seen[info.UserID] = issuer
		if _, err := tokenInfo(r.Context(), raw+"x", r); err == nil {
			t.Error("another token than the verified one passed")
		}
		if _, err := tokenInfo(t.Context(), raw, r); err == nil {
			t.Error("a token that was not verified passed")
		}
		made := jwthttp.ContextWithClaims(jwthttp.ContextWithToken(t.Context(), &jwthttp.Token{Subject: "alice"}), claims{Subject: "alice"})
		if _, err := tokenInfo(made, "", r); err == nil {
			t.Error("a token made by hand passed")
		}
	}
}

func TestTokenInfo_withoutMiddleware(t *testing.T) {
	s := start(t, newTools())
	s.server.Config.Handler = mcpauth.RequireBearerToken(tokenInfo, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the handler was called")
	}))
	resp := s.do("POST", initialize, "Authorization", "Bearer "+s.token("alice", scopeUse, nil, nil))
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestTools(t *testing.T) {
	s := start(t, newTools())
	few, all := s.token("alice", scopeUse, nil, nil), s.token("alice", bothTools, nil, nil)
	session := s.open(few)
	batch := "[" + call("create_order") + "]" // allowed by protocol version 2025-03-26; stepUp does not read it
	for _, test := range []struct {
		name, token, message string
		status               int
		want                 string
	}{
		{"a call with its scope", all, call("create_order"), 200, `"ordered":"tea"`},
		{"a batch with its scope", all, batch, 200, `"ordered":"tea"`},
		{"a call without its scope", few, call("create_order"), 403, "insufficient_scope"},
		{"a batch without its scope", few, batch, 200, "scope orders:write is required"},
		{"a call of a tool without a scope", few, call("whoami"), 200, `"client":"test"`},
		{"an unknown tool", few, call("nonsense"), 200, "unknown tool"},
		{"a message that is too long", few, strings.Repeat(" ", mcp.DefaultMaxRequestBodyBytes) + call("whoami"), 413, "message too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := s.in(session, test.token, test.message)
			text := s.text(resp)
			if resp.StatusCode != test.status || !strings.Contains(text, test.want) {
				t.Errorf("%d, %s", resp.StatusCode, text)
			}
			if test.want != `"ordered":"tea"` && strings.Contains(text, "ordered") {
				t.Errorf("it ran: %s", text)
			}
			challenge := resp.Header.Get("WWW-Authenticate")
			if stepsUp := strings.Contains(challenge, `scope="`+bothTools+`"`) && strings.Contains(challenge, "resource_metadata"); stepsUp != (test.status == 403) {
				t.Errorf("challenge %s", challenge)
			}
		})
	}
}

// TestTools_context shows why caller reads req.Extra.
func TestTools_context(t *testing.T) {
	type both struct{ Context, Extra []string }
	tools := newTools()
	mcp.AddTool(tools, &mcp.Tool{Name: "probe"}, func(ctx context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, both, error) {
		token, _ := jwthttp.TokenFromContext(ctx)
		return nil, both{token.Scopes, req.Extra.TokenInfo.Scopes}, nil
	})
	s := start(t, tools)
	session := s.open(s.token("alice", scopeUse, nil, nil))
	text := s.text(s.in(session, s.token("alice", bothTools, nil, nil), call("probe")))
	_, data, _ := strings.Cut(text, "data: ")
	var answer struct {
		Result struct{ StructuredContent both }
	}
	if err := json.Unmarshal([]byte(strings.TrimSpace(data)), &answer); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got := answer.Result.StructuredContent
	if strings.Join(got.Context, " ") != scopeUse || strings.Join(got.Extra, " ") != bothTools {
		t.Errorf("%+v", got)
	}
}

func TestTools_withoutMiddleware(t *testing.T) {
	clientEnd, serverEnd := mcp.NewInMemoryTransports() // no HTTP, no token
	server, err := newTools().Connect(t.Context(), serverEnd, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), clientEnd, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for name, arguments := range map[string]any{"whoami": nothing{}, "create_order": order{Item: "tea"}} {
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := json.Marshal(result.Content); !result.IsError || !strings.Contains(string(text), "not authenticated") {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}

func TestStream_expiry(t *testing.T) {
	s := start(t, newTools())
	session := s.open(s.token("alice", scopeUse, nil, nil))
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second) // after the server's timeouts
	token := s.token("alice", scopeUse, nil, jwt.MapClaims{"exp": expires.Unix()})
	resp := s.do("GET", "", "Authorization", "Bearer "+token, "Mcp-Session-Id", session)
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		ended <- err
	}()
	if err := receive(t, ended); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
	if early := time.Until(expires); early > 0 {
		t.Errorf("%v early", early)
	}
	if late := time.Since(expires); late > 4*time.Second {
		t.Errorf("%v late", late)
	}
	if resp := s.in(session, token, call("whoami")); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the old token: %d", resp.StatusCode)
	}
	if resp := s.in(session, s.token("alice", scopeUse, nil, nil), call("whoami")); resp.StatusCode != http.StatusOK {
		t.Errorf("a new token in the old session: %d", resp.StatusCode)
	}
}

func TestResource_crossOrigin(t *testing.T) {
	s := start(t, newTools())
	token := "Bearer " + s.token("alice", scopeUse, nil, nil)
	const stranger = "https://evil.example"
	for _, test := range []struct {
		name   string
		method string
		header []string
		status int
		allow  string
	}{
		{"a preflight of the trusted origin", "OPTIONS", []string{"Origin", friend, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,mcp-protocol-version,mcp-session-id"}, 204, friend},
		{"a preflight of another origin", "OPTIONS", []string{"Origin", stranger, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"}, 204, ""},
		{"a preflight of the origin null", "OPTIONS", []string{"Origin", "null", "Access-Control-Request-Method", "POST"}, 204, ""},
		{"a request of the trusted origin", "POST", []string{"Origin", friend, "Sec-Fetch-Site", "cross-site", "Authorization", token}, 200, friend},
		{"a refusal that the trusted origin can read", "POST", []string{"Origin", friend, "Sec-Fetch-Site", "cross-site"}, 401, friend},
		{"a request of another origin, with a good token", "POST", []string{"Origin", stranger, "Sec-Fetch-Site", "cross-site", "Authorization", token}, 403, ""},
		{"a request with another Host (DNS rebinding)", "POST", []string{"Host", "evil.example", "Authorization", token}, 403, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := s.do(test.method, initialize, test.header...)
			if resp.StatusCode != test.status {
				t.Errorf("status %d", resp.StatusCode)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != test.allow {
				t.Errorf("allows %q", got)
			}
			if got := resp.Header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("allows credentials: %q", got)
			}
			if exposed := resp.Header.Get("Access-Control-Expose-Headers"); test.method != "OPTIONS" && test.allow != "" && !strings.EqualFold(exposed, "Mcp-Session-Id, WWW-Authenticate") {
				t.Errorf("exposes %q", exposed)
			}
		})
	}
}

// TestMetadata_crossOrigin sends the preflight of an MCP client in a browser, which
// sends MCP-Protocol-Version with every request.
func TestMetadata_crossOrigin(t *testing.T) {
	s := start(t, newTools())
	for _, url := range []string{
		s.server.URL + "/.well-known/oauth-protected-resource/mcp", s.as.url + "/.well-known/oauth-authorization-server",
	} {
		for _, method := range []string{"OPTIONS", "GET"} {
			r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", "https://anywhere.example")
			if method == "OPTIONS" {
				r.Header.Set("Access-Control-Request-Method", "GET")
				r.Header.Set("Access-Control-Request-Headers", "mcp-protocol-version")
			}
			resp, err := s.server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode >= 300 || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s %s: %d, %q", method, url, resp.StatusCode, resp.Header.Get("Access-Control-Allow-Origin"))
			}
			if allowed := resp.Header.Get("Access-Control-Allow-Headers"); method == "OPTIONS" && allowed != "*" && allowed != "mcp-protocol-version" {
				t.Errorf("%s allows the headers %q", url, allowed)
			}
		}
	}
}
