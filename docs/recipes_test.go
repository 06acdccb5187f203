package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Claims are the claims of recipes.md.
type Claims struct {
	Subject string `json:"sub"`
	Tenant  string `json:"tenant"`
}

// recipe is a section of recipes.md with a Go block.
type recipe struct {
	heading string
	test    func(*testing.T) // in a bubble
}

func recipes() []recipe {
	return []recipe{
		{"Token in the first message of a WebSocket", testWebSocket},
		{"Tokens in a queue", testQueue},
		{"GraphQL subscriptions with gqlgen", testGraphQL},
		{"A token in several cookies", testChunks},
		{"Two cookies of one name", testTwoCookies},
		{"Forward authentication by a proxy", testForwardAuth},
		{"Authorization from a cookie of a proxy", testProxyCookie},
		{"Tenants that are known at the start", testTenants},
		{"Tenants that come and go", testTenantsAtRunTime},
		{"Two algorithms for one issuer", testTwoAlgorithms},
		{"Several key set URLs", testSeveralKeySets},
		{"Health of the key set", testHealth},
		{"Tokens without an audience", testWithoutAudience},
		{"Reload of the configuration", testReload},
		{"An invalid token as a visitor", testVisitor},
		{"Rules with claims", testRules},
		{"The user in an outer access log", testAccessLog},
		{"Exact integers in claims", testExactIntegers},
		{"Tell clients where to get tokens", testDescribe},
	}
}

func TestRecipes(t *testing.T) {
	for _, r := range recipes() {
		t.Run(r.heading, func(t *testing.T) { synctest.Test(t, r.test) })
	}
}

func TestRecipes_page(t *testing.T) {
	compareBlocks(t, "recipes.md", "recipes_snippets_test.go")
	page, err := os.ReadFile("recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings, tested []string
	for part := range strings.SplitSeq(string(page), "\n## ") {
		if heading, text, _ := strings.Cut(part, "\n"); goBlock.MatchString(text) {
			headings = append(headings, heading)
		}
	}
	for _, r := range recipes() {
		tested = append(tested, r.heading)
	}
	if !slices.Equal(headings, tested) {
		t.Errorf("sections %q, tested are %q", headings, tested)
	}
}

// alice is a good token for newAuth.
func alice() tokenShape {
	return tokenShape{header: object{"alg": "HS256", "typ": "JWT"}, claims: object{
		"iss": "https://login.example", "aud": "https://api.example", "sub": "alice", "tenant": "t1", "jti": "j", "scope": "read",
	}}
}

func expired() tokenShape { return alice().with(nil, object{"exp": -time.Hour}) }

func forged() tokenShape {
	s := alice()
	s.key = []byte("another secret of at least 32 bytes")
	return s
}

func recipeOptions() jwthttp.Options {
	return jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: "https://login.example", Audience: []string{"https://api.example"}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(keys.secret),
	}}}
}

func newAuth(t *testing.T, opts jwthttp.Options) *jwthttp.Middleware {
	t.Helper()
	auth, err := jwthttp.New[Claims](opts)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// greet answers with the subject of the claims.
func greet(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, jwthttp.MustClaims[Claims](r.Context()).Subject)
}

// answer returns the response to a GET with a bearer token, or without one if it
// is empty.
func answer(h http.Handler, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// keysDown is a KeySource that never has keys.
var keysDown = jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return nil, jwthttp.ErrKeysUnavailable })

// fakeSocket is a WebSocket whose Close does not end Read.
type fakeSocket struct {
	in     chan string
	reason string
}

func (s *fakeSocket) Read(ctx context.Context) (string, error) {
	select {
	case message := <-s.in:
		return message, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (s *fakeSocket) Close(reason string) {
	s.reason = reason
	s.in <- "a late message"
}

func testWebSocket(t *testing.T) {
	const leeway = 30 * time.Second
	for _, test := range []struct {
		name    string
		first   func() string // the first message; nil: none
		revoke  bool
		handled []string
		reason  string
		took    time.Duration
	}{
		{"good until it expires", func() string { return alice().sign(t) }, false, []string{"alice: hello"}, "token ended", 10*time.Minute + leeway},
		{"revoked", func() string { return alice().sign(t) }, true, []string{"alice: hello"}, "token ended", 10 * time.Second},
		{"expired", func() string { return expired().sign(t) }, false, nil, "invalid token", 0},
		{"forged", func() string { return forged().sign(t) }, false, nil, "invalid token", 0},
		{"a scheme before the token", func() string { return "Bearer " + alice().sign(t) }, false, nil, "invalid token", 0},
		{"an empty message", func() string { return "" }, false, nil, "invalid token", 0},
		{"no message", nil, false, nil, "", 5 * time.Second},
	} {
		var list revocation.List
		opts := recipeOptions()
		opts.Revoked = list.Revoked
		socket := &fakeSocket{in: make(chan string, 4)}
		if test.first != nil {
			socket.in <- test.first()
			socket.in <- "hello"
		}
		start := time.Now()
		var handled []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			serve(t.Context(), newAuth(t, opts), socket, func(ctx context.Context, message string) {
				handled = append(handled, jwthttp.MustClaims[Claims](ctx).Subject+": "+message)
			})
		}()
		synctest.Wait()
		if test.revoke {
			err := list.Revoke(t.Context(), revocation.Entry{Kind: revocation.ByID, Issuer: "https://login.example", Value: "j"})
			if err != nil {
				t.Fatal(err)
			}
		}
		<-done
		if took := time.Since(start); !slices.Equal(handled, test.handled) || socket.reason != test.reason || took != test.took {
			t.Errorf("%s: handled %q, closed with %q after %v", test.name, handled, socket.reason, took)
		}
	}
}

func testQueue(t *testing.T) {
	down := recipeOptions()
	down.Issuers[0].Keys = keysDown
	unchecked := recipeOptions()
	unchecked.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("no answer") }
	auth := newAuth(t, recipeOptions())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name  string
		ctx   context.Context
		auth  *jwthttp.Middleware
		token tokenShape
		want  string
	}{
		{"good", t.Context(), auth, alice(), "done for alice"},
		{"with the scope", t.Context(), auth.RequireScopes("read"), alice(), "done for alice"},
		{"without the scope", t.Context(), auth.RequireScopes("write"), alice(), "dropped"},
		{"expired", t.Context(), auth, expired(), "dropped"},
		{"forged", t.Context(), auth, forged(), "dropped"},
		{"forged while the keys are available and ctx has ended", ended, auth, forged(), "dropped"},
		{"no keys", t.Context(), newAuth(t, down), alice(), "again"},
		{"no keys and the end of ctx", ended, newAuth(t, down), alice(), "again"},
		{"no answer about revocation", t.Context(), newAuth(t, unchecked), alice(), "again"},
		{"rules", t.Context(), auth.Require(func(*http.Request) error { return nil }), alice(), "dropped"},
	} {
		jobs := make(chan Job, 2)
		jobs <- Job{Token: test.token.sign(t), Order: "7"}
		jobs <- Job{Order: "8"} // without a token
		close(jobs)
		got := "dropped"
		do := func(ctx context.Context, order string) {
			if order != "7" {
				t.Errorf("%s: order %q is done", test.name, order)
			}
			got = "done for " + jwthttp.MustClaims[Claims](ctx).Subject
		}
		work(test.ctx, test.auth, jobs, do, func(job Job) {
			if job.Order != "7" {
				t.Errorf("%s: order %q is tried again", test.name, job.Order)
			}
			got = "again"
		})
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// InitPayload is that of gqlgen.
type InitPayload map[string]any

func testGraphQL(t *testing.T) {
	// InitFunc has the type of gqlgen's transport.WebsocketInitFunc.
	var initFunc func(context.Context, InitPayload) (context.Context, *InitPayload, error) = initSocket[InitPayload](newAuth(t, recipeOptions()))
	for _, test := range []struct {
		name    string
		payload InitPayload
		admits  bool
	}{
		{"good", InitPayload{"Authorization": "Bearer " + alice().sign(t)}, true},
		{"without a scheme", InitPayload{"Authorization": alice().sign(t)}, true},
		{"no payload", nil, false},
		{"no token", InitPayload{"Authorization": "Bearer "}, false},
		{"another member", InitPayload{"Token": "Bearer " + alice().sign(t)}, false},
		{"not a string", InitPayload{"Authorization": []any{"Bearer " + alice().sign(t)}}, false},
		{"another scheme", InitPayload{"Authorization": "Basic " + alice().sign(t)}, false},
		{"expired", InitPayload{"Authorization": "Bearer " + expired().sign(t)}, false},
		{"forged", InitPayload{"Authorization": "Bearer " + forged().sign(t)}, false},
	} {
		connection, end := context.WithCancel(t.Context())
		ctx, _, err := initFunc(connection, test.payload)
		if ctx == nil || (err == nil) != test.admits || err != nil && err.Error() != "invalid token" {
			t.Errorf("%s: context %v, error %v", test.name, ctx, err)
		}
		if claims, ok := jwthttp.ClaimsFromContext[Claims](ctx); ok != test.admits || ok && claims.Subject != "alice" {
			t.Errorf("%s: claims %v, %v", test.name, claims, ok)
		}
		end()
		if ctx.Err() == nil {
			t.Errorf("%s: the context outlives the connection", test.name)
		}
	}
	ctx, _, err := initFunc(t.Context(), InitPayload{"Authorization": "Bearer " + alice().sign(t)})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Minute)
	if ctx.Err() != nil {
		t.Error("the context ends before the token")
	}
	time.Sleep(time.Minute)
	if ctx.Err() == nil {
		t.Error("the context outlives the token")
	}
}

// inChunks returns cookies with the parts of a token.
func inChunks(token string, n int) (cookies []string) {
	for i := range n {
		cookies = append(cookies, fmt.Sprintf("token.%d=%s", i, token[i*len(token)/n:(i+1)*len(token)/n]))
	}
	return cookies
}

func testChunks(t *testing.T) {
	opts := recipeOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromCookie("token"), fromChunks("token"))
	auth := newAuth(t, opts)
	token := alice().sign(t)
	parts := inChunks(token, 3)
	large := inChunks(alice().with(nil, object{"groups": strings.Repeat("x", 5000)}).sign(t), 2)
	for _, test := range []struct {
		name    string
		cookies []string
		site    string // Sec-Fetch-Site
		want    string
	}{
		{"in order", parts, "", "200"},
		{"in another order", []string{parts[2], "other=1", parts[0], parts[1]}, "", "200"},
		{"one chunk", inChunks(token, 1), "", "200"},
		{"eight chunks", inChunks(token, 8), "", "200"},
		{"larger than a cookie", large, "", "200"},
		{"in one cookie", []string{"token=" + token}, "", "200"},
		{"from the same origin", parts, "same-origin", "200"},
		{"from another site", parts, "cross-site", "403 cross_origin"},
		{"nine chunks", inChunks(token, 9), "", "401 signature"},
		{"no cookie", []string{"other=1"}, "", "401 missing"},
		{"an empty chunk", []string{"token.0="}, "", "401 missing"},
		{"without the first", parts[1:], "", "401 missing"},
		{"without the second", []string{parts[0], parts[2]}, "", "401 malformed"},
		{"without the last", parts[:2], "", "401 malformed"},
		{"one left of a longer token", append(slices.Clone(parts), "token.3=AAAA"), "", "401 signature"},
		{"two of one chunk", append(slices.Clone(parts), parts[1]), "", "400 multiple"},
		{"a number with a zero in front", []string{strings.Replace(parts[0], "token.0", "token.00", 1), parts[1], parts[2]}, "", "401 missing"},
		{"of another name", []string{strings.Replace(parts[0], "token", "Token", 1), parts[1], parts[2]}, "", "401 missing"},
		{"expired", inChunks(expired().sign(t), 3), "", "401 expired"},
		{"forged", inChunks(forged().sign(t), 3), "", "401 signature"},
		{"larger than MaxTokenSize", inChunks(strings.Repeat("x", 9<<10), 3), "", "401 too_large"},
	} {
		r := httptest.NewRequest("POST", "/orders", nil)
		r.Header.Set("Cookie", strings.Join(test.cookies, "; "))
		if test.site != "" {
			r.Header.Set("Sec-Fetch-Site", test.site)
		}
		if got := outcome(auth, r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func testTwoCookies(t *testing.T) {
	opts := recipeOptions()
	opts.Extractor = jwthttp.FromCookie("token")
	opts.ErrorHandler = clearCookies
	auth := newAuth(t, opts)
	app := auth.Handler(http.HandlerFunc(greet))
	strong := auth.RequireACR("gold").Handler(http.HandlerFunc(greet))
	const host = "https://www.example.com/app/"
	cookie := func(token tokenShape, domain, path string) *http.Cookie {
		return &http.Cookie{Name: "token", Value: token.sign(t), Domain: domain, Path: path, Secure: true}
	}
	for _, test := range []struct {
		name    string
		app     http.Handler
		cookies []*http.Cookie
		first   int
		kept    int // cookies after the first request
	}{
		{"one good", app, []*http.Cookie{cookie(alice(), "", "/")}, 200, 1},
		{"an old one with another path", app, []*http.Cookie{cookie(alice(), "", "/"), cookie(expired(), "", "/app")}, 400, 0},
		{"an old one with another domain", app, []*http.Cookie{cookie(expired(), "example.com", "/"), cookie(alice(), "", "/")}, 400, 0},
		{"both", app, []*http.Cookie{cookie(alice(), "", "/"), cookie(alice(), "example.com", "/"), cookie(alice(), "example.com", "/app")}, 400, 0},
		{"one expired", app, []*http.Cookie{cookie(expired(), "", "/")}, 401, 0},
		{"none", app, nil, 401, 0},
		{"a good one where a stronger login is needed", strong, []*http.Cookie{cookie(alice(), "", "/")}, 401, 1},
		{"a path that the site does not know", app, []*http.Cookie{cookie(alice(), "", "/"), cookie(alice(), "", "/app/")}, 400, 1},
	} {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			test.app.ServeHTTP(w, r)
			return w.Result(), nil
		})}
		address, err := url.Parse(host)
		if err != nil {
			t.Fatal(err)
		}
		jar.SetCookies(address, test.cookies)
		response, err := client.Get(host)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if kept := len(jar.Cookies(address)); response.StatusCode != test.first || kept != test.kept {
			t.Errorf("%s: status %d, then %d cookies", test.name, response.StatusCode, kept)
		}
		if test.kept > 0 {
			continue
		}
		// The user can sign in again.
		jar.SetCookies(address, []*http.Cookie{cookie(alice(), "", "/")})
		if response, err = client.Get(host); err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d after the next login", test.name, response.StatusCode)
		}
	}
}

func testForwardAuth(t *testing.T) {
	opts := recipeOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("token"))
	auth := newAuth(t, opts)
	endpoint := forwardAuth(auth)
	cookie := []string{"Cookie", "token=" + alice().sign(t)}
	from := func(method string, more ...string) []string {
		return append([]string{"X-Forwarded-Method", method, "X-Forwarded-Host", "app.example"}, more...)
	}
	for _, test := range []struct {
		name     string
		endpoint http.Handler
		fields   [][]string
		want     int
	}{
		{"GET", endpoint, [][]string{from("GET"), cookie}, 200},
		{"cross-site GET", endpoint, [][]string{from("GET", "Sec-Fetch-Site", "cross-site"), cookie}, 200},
		{"same-origin POST", endpoint, [][]string{from("POST", "Sec-Fetch-Site", "same-origin"), cookie}, 200},
		{"POST whose Origin is the host", endpoint, [][]string{from("POST", "Origin", "https://app.example"), cookie}, 200},
		{"POST without a browser", endpoint, [][]string{from("POST"), cookie}, 200},
		{"cross-site POST with a token in Authorization", endpoint, [][]string{from("POST", "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer "+alice().sign(t))}, 200},
		{"cross-site POST", endpoint, [][]string{from("POST", "Sec-Fetch-Site", "cross-site"), cookie}, 403},
		{"cross-site PUT", endpoint, [][]string{from("PUT", "Sec-Fetch-Site", "cross-site"), cookie}, 403},
		{"cross-site DELETE", endpoint, [][]string{from("DELETE", "Sec-Fetch-Site", "cross-site"), cookie}, 403},
		{"POST from a sibling domain", endpoint, [][]string{from("POST", "Sec-Fetch-Site", "same-site"), cookie}, 403},
		{"a method that is no word", endpoint, [][]string{from("GET, POST", "Sec-Fetch-Site", "cross-site"), cookie}, 403},
		{"POST with another Origin", endpoint, [][]string{from("POST", "Origin", "https://other.example"), cookie}, 403},
		{"POST whose Origin is the endpoint's host", endpoint, [][]string{from("POST", "Origin", "https://auth.internal"), cookie}, 403},
		{"cross-site WebSocket upgrade", endpoint, [][]string{from("GET", "Sec-Fetch-Site", "cross-site", "Connection", "Upgrade", "Upgrade", "websocket"), cookie}, 403},
		{"no token", endpoint, [][]string{from("GET")}, 401},
		{"expired", endpoint, [][]string{from("GET", "Cookie", "token="+expired().sign(t))}, 401},
		{"two cookies", endpoint, [][]string{from("GET"), cookie, cookie}, 400},
		{"no method", endpoint, [][]string{{"X-Forwarded-Host", "app.example"}, cookie}, 500},
		{"an empty method", endpoint, [][]string{from(""), cookie}, 500},
		{"a client's method before the proxy's", endpoint, [][]string{{"X-Forwarded-Method", "GET"}, from("POST", "Sec-Fetch-Site", "cross-site"), cookie}, 500},
		{"no host", endpoint, [][]string{{"X-Forwarded-Method", "GET"}, cookie}, 500},
		{"an empty host", endpoint, [][]string{{"X-Forwarded-Method", "GET", "X-Forwarded-Host", ""}, cookie}, 500},
		{"two hosts", endpoint, [][]string{{"X-Forwarded-Host", "other.example"}, from("GET"), cookie}, 500},
		// The mistake that docs/security.md warns about.
		{"cross-site POST to a Handler", auth.Handler(http.HandlerFunc(greet)), [][]string{from("POST", "Sec-Fetch-Site", "cross-site"), cookie}, 200},
	} {
		r := httptest.NewRequest("GET", "https://auth.internal/verify", nil)
		for _, pairs := range test.fields {
			for pair := range slices.Chunk(pairs, 2) {
				r.Header.Add(pair[0], pair[1])
			}
		}
		w := httptest.NewRecorder()
		test.endpoint.ServeHTTP(w, r)
		user := w.Header().Get("X-User")
		if w.Code != test.want || (user == "alice") != (w.Body.Len() == 0 && w.Code == 200) {
			t.Errorf("%s: %d with user %q, want %d", test.name, w.Code, user, test.want)
		}
	}
}

func testProxyCookie(t *testing.T) {
	opts := recipeOptions()
	opts.Extractor = fromProxyCookie()
	auth := newAuth(t, opts)
	bearer := func(token string, more ...string) []string {
		return append([]string{"Authorization", "Bearer " + token}, more...)
	}
	token := alice().sign(t)
	for _, test := range []struct {
		name   string
		method string
		fields []string
		want   string
	}{
		{"GET", "GET", bearer(token), "200"},
		{"cross-site GET", "GET", bearer(token, "Sec-Fetch-Site", "cross-site"), "200"},
		{"same-origin POST", "POST", bearer(token, "Sec-Fetch-Site", "same-origin"), "200"},
		{"POST of a program", "POST", bearer(token), "200"},
		{"cross-site POST", "POST", bearer(token, "Sec-Fetch-Site", "cross-site"), "403 cross_origin"},
		{"cross-site POST of an old browser", "POST", bearer(token, "Origin", "https://evil.example"), "403 cross_origin"},
		{"cross-site WebSocket upgrade", "GET", bearer(token, "Sec-Fetch-Site", "cross-site", "Connection", "Upgrade", "Upgrade", "websocket"), "403 cross_origin"},
		{"another scheme", "GET", []string{"Authorization", "Basic dTpw"}, "401 missing"},
		{"no field", "GET", nil, "401 missing"},
		{"two fields", "GET", append(bearer(token), bearer(token)...), "400 multiple"},
		{"expired", "GET", bearer(expired().sign(t)), "401 expired"},
		{"forged", "GET", bearer(forged().sign(t)), "401 signature"},
	} {
		r := httptest.NewRequest(test.method, "/orders", nil)
		for pair := range slices.Chunk(test.fields, 2) {
			r.Header.Add(pair[0], pair[1])
		}
		if got := outcome(auth, r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func testTenants(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	issuers, err := tenantIssuers(ctx, []string{"https://a.tenants.example", "https://b.tenants.example"})
	if err != nil {
		t.Fatal(err)
	}
	auth := newAuth(t, jwthttp.Options{Issuers: issuers})
	a := tokenShape{header: plain(), claims: object{"iss": "https://a.tenants.example", "aud": "https://api.example", "sub": "alice"}}
	b := a.with(nil, object{"iss": "https://b.tenants.example"})
	b.key = keys.otherRSA
	forgedByB := b.with(nil, object{"iss": "https://a.tenants.example"})
	for _, test := range []struct {
		name  string
		token tokenShape
		want  string
	}{
		{"the first tenant", a, "200"},
		{"the second tenant", b, "200"},
		{"the first tenant's token by the second's key", forgedByB, "401 signature"},
		{"another tenant", a.with(nil, object{"iss": "https://c.tenants.example"}), "401 issuer"},
		{"another audience", b.with(nil, object{"aud": "https://other.example"}), "401 audience"},
		{"another algorithm", a.with(object{"alg": "PS256"}, nil), "401 algorithm"},
	} {
		if got := outcome(auth, provider{}.request(test.token.sign(t))); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if issuers, err := tenantIssuers(ctx, []string{"https://a.tenants.example", "a.tenants.example"}); err == nil {
		t.Errorf("issuers %v of a name that is no URL", issuers)
	}
}

func testTenantsAtRunTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tenants := newStored("https://a.tenants.example", "https://b.tenants.example")
	auth, err := tenantsAtRunTime(ctx, tenants.find)
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]string{"a.example": "https://a.tenants.example", "b.example": "https://b.tenants.example"}
	auth = auth.Require(ofHost(func(host string) string { return hosts[host] }))
	a := tokenShape{header: plain(), claims: object{"iss": "https://a.tenants.example", "aud": "https://api.example", "sub": "alice"}}
	b := a.with(nil, object{"iss": "https://b.tenants.example"})
	b.key = keys.otherRSA
	for _, test := range []struct {
		name, host string
		token      tokenShape
		want       string
	}{
		{"the first tenant", "a.example", a, "200"},
		{"the second tenant", "b.example", b, "200"},
		{"the first tenant at the host of the second", "b.example", a, "403 forbidden"},
		{"a host of no tenant", "c.example", a, "403 forbidden"},
		{"the first tenant's token by the second's key", "a.example", b.with(nil, object{"iss": "https://a.tenants.example"}), "401 signature"},
		{"a tenant in capitals", "a.example", a.with(nil, object{"iss": "https://A.tenants.example"}), "401 issuer"},
		{"another tenant", "a.example", a.with(nil, object{"iss": "https://c.tenants.example"}), "401 issuer"},
		{"another audience", "a.example", a.with(nil, object{"aud": "https://other.example"}), "401 audience"},
	} {
		r := provider{}.request(test.token.sign(t))
		r.Host = test.host
		if got := outcome(auth, r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	for _, test := range []struct {
		name   string
		change func()
		want   string
	}{
		{"a dropped tenant", func() { tenants.names = tenants.names[1:] }, "401 issuer"},
		{"a database out of reach", func() { tenants.err = errors.New("no connection") }, "503 issuers_unavailable"},
	} {
		test.change()
		time.Sleep(time.Minute)
		r := provider{}.request(a.sign(t))
		r.Host = "a.example"
		if got := outcome(auth, r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func testTwoAlgorithms(t *testing.T) {
	auth := newAuth(t, jwthttp.Options{Issuers: bridge(keys.secret, jwthttp.StaticKey(&keys.rsa.PublicKey))})
	site := auth.Handler(auth.RequireScopes("write").Handler(http.HandlerFunc(greet)))
	before := alice().with(nil, object{"scope": "read write"})
	after := before.with(object{"alg": "RS256"}, nil)
	confused, other := before, after
	confused.key, other.key = []byte(publicPEM(keys.rsa)), keys.otherRSA
	for _, test := range []struct {
		name  string
		token tokenShape
		want  int
	}{
		{"before", before, 200},
		{"after", after, 200},
		{"before, without the scope", before.with(nil, object{"scope": "read"}), 403},
		{"after, without the scope", after.with(nil, object{"scope": "read"}), 403},
		{"the public key as a secret", confused, 401},
		{"another key", other, 401},
		{"an algorithm of neither", before.with(object{"alg": "HS384"}, nil), 401},
		{"before, expired", before.with(nil, object{"exp": -time.Hour}), 401},
		{"after, another audience", after.with(nil, object{"aud": "other"}), 401},
	} {
		if got := answer(site, "/", test.token.sign(t)).Code; got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func testSeveralKeySets(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := parseSet(t, keySet(rsaJWK(keys.rsa, object{"kid": "first"})))
	second := parseSet(t, keySet(rsaJWK(keys.otherRSA, object{"kid": "second"})))
	down, err := jwks.New(ctx, "https://down.example/keys", jwks.Options{OnError: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	token := func(kid any, key any) tokenShape {
		s := alice().with(object{"alg": "RS256", "kid": kid}, nil)
		s.key = key
		return s
	}
	for _, test := range []struct {
		name  string
		sets  several
		token tokenShape
		want  string
	}{
		{"the first set", several{first, second}, token("first", keys.rsa), "200"},
		{"the second set", several{first, second}, token("second", keys.otherRSA), "200"},
		{"the second set while the first is down", several{down, second}, token("second", keys.otherRSA), "200"},
		{"the first set while the second is down", several{first, down}, token("first", keys.rsa), "200"},
		{"no set", several{first, second}, token("third", keys.rsa), "401 unknown_key"},
		{"no set, and one is down", several{first, down}, token("second", keys.otherRSA), "503 keys_unavailable"},
		{"no set, and the first is down", several{down, first}, token("second", keys.otherRSA), "503 keys_unavailable"},
		{"the key of the other set", several{first, second}, token("first", keys.otherRSA), "401 signature"},
		{"an expired token of the second set", several{first, second}, token("second", keys.otherRSA).with(nil, object{"exp": -time.Hour}), "401 expired"},
		{"no kid", several{first, second}, token(nil, keys.otherRSA), "401 signature"},
	} {
		opts := recipeOptions()
		opts.Issuers[0].Algorithms, opts.Issuers[0].Keys = []string{"RS256"}, test.sets
		if got := outcome(newAuth(t, opts), provider{}.request(test.token.sign(t))); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// brokenStore is a revocation.Store without a database.
type brokenStore struct{ revocation.List }

func (*brokenStore) Ready(context.Context) error { return errors.New("secret of the database") }

func testHealth(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fixed := parseSet(t, keySet(rsaJWK(keys.rsa, nil)))
	var up atomic.Bool
	fetched, err := jwks.New(ctx, "https://keys.example/keys", jwks.Options{OnError: func(error) {}, Client: &http.Client{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if !up.Load() {
				return nil, errors.New("down")
			}
			return network{r.URL.String(): {body: keySet(rsaJWK(keys.rsa, nil))}}.RoundTrip(r)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		up    bool
		set   *jwks.Set
		store revocation.Store
		want  int
	}{
		{"no keys yet", false, fetched, new(revocation.List), 503},
		{"fixed keys", false, fixed, new(revocation.List), 200},
		{"a broken store", false, fixed, new(brokenStore), 503},
		{"keys", true, fetched, new(revocation.List), 200},
		{"keys and a broken store", true, fetched, new(brokenStore), 503},
		{"a later failure", false, fetched, new(revocation.List), 200},
	} {
		synctest.Wait()
		up.Store(test.up)
		time.Sleep(30 * time.Minute) // longer than RefreshInterval
		w := answer(ready(test.set, test.store), "/ready", "")
		if w.Code != test.want || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %q, want %d", test.name, w.Code, w.Body, test.want)
		}
	}
}

func testWithoutAudience(t *testing.T) {
	const pool = "https://login.example"
	auth := newAuth(t, jwthttp.Options{Issuers: []jwthttp.Issuer{forClients(pool, jwthttp.StaticKey(&keys.rsa.PublicKey))}})
	good := tokenShape{header: plain(), claims: object{"iss": pool, "sub": "alice", "client_id": "1h57kf5cpq17m0eml12EXAMPLE"}}
	for _, test := range []struct {
		name  string
		token tokenShape
		want  string
	}{
		{"client_id", good, "200"},
		{"azp", good.with(nil, object{"client_id": nil, "azp": "1h57kf5cpq17m0eml12EXAMPLE"}), "200"},
		{"cid", good.with(nil, object{"client_id": nil, "cid": "1h57kf5cpq17m0eml12EXAMPLE"}), "200"},
		{"another client", good.with(nil, object{"client_id": "other"}), "401 audience"},
		{"no client, as in an ID token", good.with(nil, object{"client_id": nil, "aud": "1h57kf5cpq17m0eml12EXAMPLE"}), "401 audience"},
		{"another pool", good.with(nil, object{"iss": pool + "/"}), "401 issuer"},
		// What the page warns of.
		{"an ID token with azp", good.with(nil, object{"client_id": nil, "azp": "1h57kf5cpq17m0eml12EXAMPLE", "aud": "1h57kf5cpq17m0eml12EXAMPLE", "nonce": "n"}), "200"},
	} {
		if got := outcome(auth, provider{}.request(test.token.sign(t))); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func testReload(t *testing.T) {
	s := &site{build: func(auth *jwthttp.Middleware) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /me", greet)
		mux.Handle("GET /orders", auth.RequireScopes("read").Handler(http.HandlerFunc(greet)))
		return auth.Handler(mux)
	}}
	renamed, invalid := recipeOptions(), recipeOptions()
	renamed.Issuers[0].Audience = []string{"https://new.example"}
	invalid.Issuers[0].Keys = nil
	before, after := alice(), alice().with(nil, object{"aud": "https://new.example"})
	for _, test := range []struct {
		name          string
		opts          jwthttp.Options
		fails         bool
		before, after int // status of the tokens
	}{
		{"the first options", recipeOptions(), false, 200, 401},
		{"invalid options", invalid, true, 200, 401},
		{"other options", renamed, false, 401, 200},
		{"no options", jwthttp.Options{}, true, 401, 200},
	} {
		if err := s.Load(test.opts); (err != nil) != test.fails {
			t.Fatalf("%s: %v", test.name, err)
		}
		for _, path := range []string{"/me", "/orders"} {
			if got := answer(s, path, before.sign(t)).Code; got != test.before {
				t.Errorf("%s, %s: %d for the old audience, want %d", test.name, path, got, test.before)
			}
			if got := answer(s, path, after.sign(t)).Code; got != test.after {
				t.Errorf("%s, %s: %d for the new audience, want %d", test.name, path, got, test.after)
			}
		}
		if got := answer(s, "/orders", after.with(nil, object{"scope": "write"}).sign(t)).Code; test.after == 200 && got != 403 {
			t.Errorf("%s: %d without the scope, want 403", test.name, got)
		}
	}
}

func testVisitor(t *testing.T) {
	opts := recipeOptions()
	opts.Extractor = jwthttp.FromCookie("token")
	auth := newAuth(t, opts)
	for _, test := range []struct {
		name, cookie string
		auth         *jwthttp.Middleware
		want         string
	}{
		{"good", "token=" + alice().sign(t), auth, "200 hello alice"},
		{"none", "", auth, "200 hello visitor"},
		{"expired", "token=" + expired().sign(t), auth, "200 hello visitor"},
		{"forged", "token=" + forged().sign(t), auth, "200 hello visitor"},
		{"two", "token=" + alice().sign(t) + "; token=x", auth, "200 hello visitor"},
		{"good where a scope is required", "token=" + alice().sign(t), auth.RequireScopes("read"), "200 hello alice"},
		{"expired where a scope is required", "token=" + expired().sign(t), auth.RequireScopes("read"), "401"},
		{"none where a scope is required", "", auth.RequireScopes("read"), "401"},
		{"without the scope", "token=" + alice().sign(t), auth.RequireScopes("write"), "403"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", test.cookie)
		w := httptest.NewRecorder()
		front(test.auth).ServeHTTP(w, r)
		got := fmt.Sprint(w.Code)
		if w.Code == 200 {
			got += " " + strings.TrimSpace(w.Body.String())
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func testRules(t *testing.T) {
	mux := http.NewServeMux()
	auth := newAuth(t, recipeOptions())
	tenantRoutes(mux, auth, http.HandlerFunc(greet))
	mux.Handle("GET /tenants/", auth.Require(jwthttp.Rule(sameTenant)).Handler(http.HandlerFunc(greet))) // without a path value
	for _, test := range []struct {
		name, path string
		token      tokenShape
		want       int
	}{
		{"the tenant", "/tenants/t1", alice(), 200},
		{"another tenant", "/tenants/t2", alice(), 403},
		{"by case", "/tenants/T1", alice(), 403},
		{"no claim", "/tenants/t1", alice().with(nil, object{"tenant": nil}), 403},
		{"an empty claim and no path value", "/tenants/", alice().with(nil, object{"tenant": ""}), 403},
		{"expired", "/tenants/t1", expired(), 401},
	} {
		if got := answer(mux, test.path, test.token.sign(t)).Code; got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func testAccessLog(t *testing.T) {
	var logged bytes.Buffer
	flags, writer := log.Flags(), log.Writer()
	log.SetFlags(0)
	log.SetOutput(&logged)
	defer func() {
		log.SetFlags(flags)
		log.SetOutput(writer)
	}()
	opts := recipeOptions()
	opts.Observer = noteUser
	auth := newAuth(t, opts)
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(greet)))
	mux.Handle("GET /write", auth.RequireScopes("write").Handler(http.HandlerFunc(greet)))
	mux.HandleFunc("GET /public", func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct{ name, path, token, want string }{
		{"good", "/me", alice().sign(t), `GET "/me" user="alice"`},
		{"another user", "/me", alice().with(nil, object{"sub": "bob\n"}).sign(t), `GET "/me" user="bob\n"`},
		{"a known user without the scope", "/write", alice().sign(t), `GET "/write" user="alice"`},
		{"no token", "/me", "", `GET "/me" user=""`},
		{"expired", "/me", expired().sign(t), `GET "/me" user=""`},
		{"forged", "/me", forged().sign(t), `GET "/me" user=""`},
		{"outside of the middleware", "/public", alice().sign(t), `GET "/public" user=""`},
	} {
		logged.Reset()
		answer(accessLog(mux), test.path, test.token)
		if got := logged.String(); got != test.want+"\n" {
			t.Errorf("%s: logged %q, want %q", test.name, got, test.want)
		}
	}
	if got := answer(mux, "/me", alice().sign(t)).Code; got != 200 {
		t.Errorf("without the access log: %d", got)
	}
}

func testExactIntegers(t *testing.T) {
	testNumericSubject(t)
	const exact = "9007199254740993" // 2^53 + 1
	token := func(claims object) string {
		return alice().with(nil, object{"id": json.RawMessage(exact), "list": json.RawMessage(`[` + exact + `, 1.5]`)}).with(nil, claims).sign(t)
	}
	type number struct {
		ID int64 `json:"id"`
	}
	auth, err := jwthttp.New[exactClaims](recipeOptions())
	if err != nil {
		t.Fatal(err)
	}
	r, err := auth.Authenticate(provider{}.request(token(nil)))
	if err != nil {
		t.Fatal(err)
	}
	claims := jwthttp.MustClaims[exactClaims](r.Context())
	if fmt.Sprintf("%v %v %v", claims["id"], claims["list"], claims["sub"]) != exact+" ["+exact+" 1.5] alice" {
		t.Errorf("exactClaims: %v", claims)
	}
	if n, err := claims["id"].(json.Number).Int64(); err != nil || n != 1<<53+1 {
		t.Errorf("exactClaims: %d, %v", n, err)
	}
	for _, test := range []struct {
		name, token, want string
	}{
		{"expired", token(object{"exp": -time.Hour}), "401 expired"},
		{"a number as the audience", token(object{"aud": 7}), "401 malformed"},
		{"a fraction as the subject", token(object{"sub": 1.5}), "401 malformed"},
		{"two names that differ by case", token(object{"ID": 1}), "401 malformed"},
	} {
		if got := outcome(auth, provider{}.request(test.token)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}

	// What the page says about other types.
	inMap, err := jwthttp.New[jwt.MapClaims](recipeOptions())
	if err != nil {
		t.Fatal(err)
	}
	if r, err = inMap.Authenticate(provider{}.request(token(nil))); err != nil {
		t.Fatal(err)
	}
	if id := jwthttp.MustClaims[jwt.MapClaims](r.Context())["id"]; id != float64(1<<53) {
		t.Errorf("jwt.MapClaims: %v", id)
	}
	inField, err := jwthttp.New[number](recipeOptions())
	if err != nil {
		t.Fatal(err)
	}
	if r, err = inField.Authenticate(provider{}.request(token(nil))); err != nil {
		t.Fatal(err)
	}
	if id := jwthttp.MustClaims[number](r.Context()).ID; id != 1<<53+1 {
		t.Errorf("a field: %d", id)
	}
}

// testNumericSubject checks what the page says about a subject that is a number.
func testNumericSubject(t *testing.T) {
	numeric, err := jwthttp.New[numericClaims](recipeOptions())
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwthttp.New[jwt.RegisteredClaims](recipeOptions())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		sub, numeric, text string // what becomes of it in each type
	}{
		{`42`, "200", "401 claims"},
		{`"42"`, "200", "200"},
		{`"alice"`, "401 claims", "200"},
		{`4.2`, "401 malformed", "401 malformed"},
	} {
		token := alice().with(nil, object{"sub": json.RawMessage(test.sub)}).sign(t)
		if got := outcome(text, provider{}.request(token)); got != test.text {
			t.Errorf("%s in jwt.RegisteredClaims: %s, want %s", test.sub, got, test.text)
		}
		r, err := numeric.Authenticate(provider{}.request(token))
		if got := outcome(numeric, provider{}.request(token)); got != test.numeric {
			t.Errorf("%s in numericClaims: %s, want %s", test.sub, got, test.numeric)
		}
		if err != nil {
			continue
		}
		claims := jwthttp.MustClaims[numericClaims](r.Context())
		if known, _ := jwthttp.TokenFromContext(r.Context()); claims.Subject != "42" || known.Subject != "42" || claims.Issuer != known.Issuer {
			t.Errorf("%s: %v with subject %q", test.sub, claims, known.Subject)
		}
	}
}

func testDescribe(t *testing.T) {
	opts, mux := recipeOptions(), http.NewServeMux()
	if err := describe(&opts, mux); err != nil {
		t.Fatal(err)
	}
	mux.Handle("GET /me", newAuth(t, opts).Handler(http.HandlerFunc(greet)))
	const document = "https://api.example/.well-known/oauth-protected-resource"
	for _, test := range []struct {
		name, token string
		want        int
		named       bool
	}{
		{"no token", "", 401, true},
		{"expired", expired().sign(t), 401, true},
		{"good", alice().sign(t), 200, false},
	} {
		w := answer(mux, "/me", test.token)
		challenge := w.Header().Get("WWW-Authenticate")
		named := strings.Contains(challenge, `realm="api"`) && strings.Contains(challenge, `resource_metadata="`+document+`"`)
		if w.Code != test.want || named != test.named {
			t.Errorf("%s: %d with %q, want %d", test.name, w.Code, challenge, test.want)
		}
	}
	w := answer(mux, document, "")
	var metadata struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &metadata); err != nil || metadata.Resource != "https://api.example" || !slices.Equal(metadata.Servers, []string{"https://login.example"}) {
		t.Errorf("%d %s (%v)", w.Code, w.Body, err)
	}
	if err := describe(&opts, http.NewServeMux()); err != nil {
		t.Errorf("a second ServeMux: %v", err)
	}
}
