package jwthttp_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/revocation"
)

// signingKey is a secret of 32 bytes. A real program reads it from a file or the
// environment.
var signingKey = []byte("0123456789abcdef0123456789abcdef")

// exampleIssuer is an issuer that signs with one secret.
func exampleIssuer() jwthttp.Issuer {
	return jwthttp.Issuer{
		Name:       "https://login.example",
		Audience:   []string{"https://api.example"},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(signingKey),
	}
}

// issueToken does what a login endpoint does after it has checked the password.
func issueToken(subject string, own jwt.MapClaims) string {
	claims := jwt.MapClaims{
		"iss": "https://login.example",
		"aud": "https://api.example",
		"sub": subject,
		"jti": "token-of-" + subject,
		"iat": time.Now().Unix(),
		"exp": time.Now().Add(15 * time.Minute).Unix(),
	}
	for name, v := range own {
		claims[name] = v
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(signingKey)
	if err != nil {
		panic(err)
	}
	return token
}

// ask sends a request and prints status and body.
func ask(h http.Handler, method, url, authorization string) {
	r := httptest.NewRequest(method, url, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Print(method, " ", r.URL.Path, " ", w.Code, " ", w.Body)
}

// A handler behind the middleware, and what its clients see.
func Example() {
	type Claims struct {
		jwt.RegisteredClaims
		Role string `json:"role"`
	}
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	h := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := jwthttp.MustClaims[Claims](r.Context())
		fmt.Fprintf(w, "hello %s, %s\n", claims.Subject, claims.Role)
	}))

	token := issueToken("alice", jwt.MapClaims{"role": "editor"})
	ask(h, "GET", "/", "Bearer "+token)
	ask(h, "GET", "/", "")
	ask(h, "GET", "/", "Bearer "+token+"A")

	// Output:
	// GET / 200 hello alice, editor
	// GET / 401 {"error":"missing","error_description":"authentication required","reason":"missing"}
	// GET / 401 {"error":"invalid_token","error_description":"invalid token signature","reason":"signature"}
}

// An API accepts the tokens of an identity provider, here a server on loopback
// with a discovery document and a key set. Keys are fetched when they are needed.
func Example_identityProvider() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/.well-known/openid-configuration" {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%[1]s/keys"}`, provider.URL)
			return
		}
		n := base64.RawURLEncoding.EncodeToString(key.N.Bytes())
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","alg":"RS256","kid":"2026-11","n":%q,"e":"AQAB"}]}`, n)
	}))
	defer provider.Close()

	keys, err := jwks.Discover(context.Background(), provider.URL, jwks.Options{}) // until the program ends
	if err != nil {
		panic(err)
	}
	auth, err := jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       provider.URL,
		Audience:   []string{"https://api.example"},
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}}})
	if err != nil {
		panic(err)
	}
	api := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", jwthttp.MustClaims[jwt.RegisteredClaims](r.Context()).Subject)
	}))

	for _, audience := range []string{"https://api.example", "https://shop.example"} {
		t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": provider.URL, "aud": audience, "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
		})
		t.Header["kid"] = "2026-11"
		token, err := t.SignedString(key)
		if err != nil {
			panic(err)
		}
		ask(api, "GET", "/me", "Bearer "+token)
	}

	// Output:
	// GET /me 200 hello alice
	// GET /me 401 {"error":"invalid_token","error_description":"token is for another audience","reason":"audience"}
}

// Reading needs one scope, and writing another one as well. Requirements of
// derived Middlewares add up.
func ExampleMiddleware_RequireScopes() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	reader := auth.RequireScopes("orders:read")
	mux := http.NewServeMux()
	mux.Handle("GET /orders", reader.Handler(ok))
	mux.Handle("POST /orders", reader.RequireScopes("orders:write").Handler(ok))

	token := "Bearer " + issueToken("alice", jwt.MapClaims{"scope": "profile orders:read"})
	ask(mux, "GET", "/orders", token)
	ask(mux, "POST", "/orders", token)

	// Output:
	// GET /orders 200 ok
	// POST /orders 403 {"error":"insufficient_scope","error_description":"insufficient scope","reason":"scope"}
}

// Common mistakes are errors when the program starts.
func ExampleNew_mistakes() {
	_, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       "https://login.example",
		Algorithms: []string{"HS256", "none"},
		Keys:       jwthttp.StaticKey([]byte("secret")),
	}}})
	fmt.Println(err)

	// Output:
	// jwthttp: Issuers[0].Audience: want the names of this service, or Any alone
	// jwthttp: Issuers[0].Algorithms: "none": unknown algorithm
	// jwthttp: Issuers[0].Keys: static key does not fit HS256: HMAC secret has 6 bytes, want at least 32
}

// A test of a handler needs neither a token nor a Middleware.
func ExampleContextWithClaims() {
	type Claims struct{ Role string }
	handler := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "role:", jwthttp.MustClaims[Claims](r.Context()).Role)
	}

	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(jwthttp.ContextWithClaims(r.Context(), Claims{Role: "editor"}))
	w := httptest.NewRecorder()
	handler(w, r)
	fmt.Print(w.Body)

	// Output:
	// role: editor
}

// Keys that change while the program runs: New copies a KeySet, so a Keyfunc
// reads the current one from an atomic pointer. A token is rejected as soon as
// its key is removed.
func ExampleKeyfunc() {
	var current atomic.Pointer[jwthttp.KeySet]
	current.Store(&jwthttp.KeySet{"2026-10": []byte("first secret, 32 bytes or longer")})

	issuer := exampleIssuer()
	issuer.Keys = jwthttp.Keyfunc(func(t *jwt.Token) (any, error) {
		return current.Load().KeyfuncCtx(context.Background())(t)
	})
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer}})
	if err != nil {
		panic(err)
	}
	sign := func(kid string) string {
		t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "https://login.example", "aud": "https://api.example", "exp": int64(253402300799),
		})
		t.Header["kid"] = kid
		token, err := t.SignedString((*current.Load())[kid])
		if err != nil {
			panic(err)
		}
		return token
	}
	show := func(when, token string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		_, err := auth.Authenticate(r)
		fmt.Println(when, err == nil)
	}

	old := sign("2026-10")
	show("before:", old)
	current.Store(&jwthttp.KeySet{
		"2026-10": []byte("first secret, 32 bytes or longer"),
		"2026-11": []byte("second secret, 32 bytes or longer"),
	})
	show("old token after a key was added:", old)
	show("new token:", sign("2026-11"))
	current.Store(&jwthttp.KeySet{"2026-11": []byte("second secret, 32 bytes or longer")})
	show("old token after its key was removed:", old)

	// Output:
	// before: true
	// old token after a key was added: true
	// new token: true
	// old token after its key was removed: false
}

// A whole site needs a token, a group of routes a scope, and one route that the
// tenant in its path is the tenant in the claims. The token is verified once. The
// tenant rule is on the route: around the ServeMux it would run before routing,
// and see an empty path value.
func ExampleMiddleware_Require() {
	type Claims struct {
		Subject string `json:"sub"`
		Tenant  string `json:"tid"`
	}
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	sameTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		if claims.Tenant == "" || claims.Tenant != r.PathValue("tenant") {
			return errors.New("another tenant")
		}
		return nil
	}))
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") })

	orders := http.NewServeMux()
	orders.Handle("POST /orders/{id}", ok)
	mux := http.NewServeMux()
	mux.Handle("GET /me", ok)
	mux.Handle("/orders/", auth.RequireScopes("orders:write").Handler(orders))
	mux.Handle("GET /tenants/{tenant}", sameTenant.Handler(ok))
	site := auth.Handler(mux)

	token := "Bearer " + issueToken("alice", jwt.MapClaims{"tid": "acme", "scope": "orders:read"})
	ask(site, "GET", "/me", "")
	ask(site, "GET", "/me", token)
	ask(site, "POST", "/orders/1", token)
	ask(site, "GET", "/tenants/acme", token)
	ask(site, "GET", "/tenants/other", token)

	// Output:
	// GET /me 401 {"error":"missing","error_description":"authentication required","reason":"missing"}
	// GET /me 200 welcome
	// POST /orders/1 403 {"error":"insufficient_scope","error_description":"insufficient scope","reason":"scope"}
	// GET /tenants/acme 200 welcome
	// GET /tenants/other 403 {"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}
}

// CORS middleware goes outside of the Handler, because a preflight request has no
// token. Use github.com/rs/cors or github.com/jub0bs/cors; this one is shortened.
func ExampleMiddleware_Handler_cors() {
	cors := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
			if r.Method == http.MethodOptions {
				w.Header().Set("Access-Control-Allow-Headers", "Authorization")
				fmt.Fprintln(w, "preflight")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") })
	site := cors(auth.Handler(ok))
	ask(site, "OPTIONS", "/", "")
	ask(site, "GET", "/", "Bearer "+issueToken("alice", nil))

	// Output:
	// OPTIONS / 200 preflight
	// GET / 200 welcome
}

// In a framework with handlers of another type, Authenticate decides and
// WriteError answers.
func ExampleMiddleware_Authenticate() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, err := auth.Authenticate(r)
		if err != nil {
			jwthttp.WriteError(w, err)
			return
		}
		fmt.Fprintln(w, "hello", jwthttp.MustClaims[jwt.MapClaims](r.Context())["sub"])
	})
	ask(h, "GET", "/", "Bearer "+issueToken("alice", nil))
	ask(h, "GET", "/", "Basic dXNlcjpwYXNz")

	// Output:
	// GET / 200 hello alice
	// GET / 401 {"error":"missing","error_description":"authentication required","reason":"missing"}
}

// Transfers need a second factor, used within the last five minutes. The refusal
// says so to the client, which sends its user to the authorization server with
// these values, and returns with a new token (RFC 9470).
func ExampleMiddleware_RequireACR() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	stepUp := auth.RequireACR("urn:example:mfa").RequireAuthAge(5 * time.Minute)
	mux := http.NewServeMux()
	mux.Handle("POST /transfers", stepUp.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		fmt.Println("transferred")
	})))

	for _, claims := range []jwt.MapClaims{
		{"acr": "urn:example:password", "auth_time": time.Now().Unix()},
		{"acr": "urn:example:mfa", "auth_time": time.Now().Add(-time.Hour).Unix()},
		{"acr": "urn:example:mfa", "auth_time": time.Now().Unix()},
	} {
		r := httptest.NewRequest("POST", "/transfers", nil)
		r.Header.Set("Authorization", "Bearer "+issueToken("alice", claims))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}

	// Output:
	// 401 Bearer realm="restricted", error="insufficient_user_authentication", error_description="another authentication of the user required", acr_values="urn:example:mfa", max_age="300"
	// 401 Bearer realm="restricted", error="insufficient_user_authentication", error_description="another authentication of the user required", acr_values="urn:example:mfa", max_age="300"
	// transferred
	// 200
}

// A website keeps the token in a cookie. A browser sends it with requests of
// other sites, too, so those that change something are refused. The login has no
// token yet, and needs http.CrossOriginProtection around it.
func ExampleFromCookie() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{exampleIssuer()},
		Extractor: jwthttp.FromCookie("__Host-token"),
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, _ *http.Request) { // after the password was checked
		http.SetCookie(w, &http.Cookie{
			Name: "__Host-token", Value: issueToken("alice", nil), Path: "/", MaxAge: 15 * 60,
			Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
	})
	mux.Handle("POST /notes", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "saved for", jwthttp.MustClaims[jwt.MapClaims](r.Context())["sub"])
	})))
	site := http.NewCrossOriginProtection().Handler(mux)

	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest("POST", "/login", nil))
	cookie := w.Result().Cookies()[0]
	for _, from := range []string{"same-origin", "cross-site"} {
		r := httptest.NewRequest("POST", "/notes", nil)
		r.AddCookie(cookie)
		r.Header.Set("Sec-Fetch-Site", from) // as browsers do
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Print(from, " ", w.Code, " ", w.Body)
	}

	// Output:
	// same-origin 200 saved for alice
	// cross-site 403 {"error":"cross_origin","error_description":"cross-origin request refused","reason":"cross_origin"}
}

// A public page greets users who have logged in. A visitor whose cookie has
// expired sees the page, too.
func ExampleMiddleware_AllowAnonymous() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{exampleIssuer()},
		Extractor: jwthttp.FromCookie("__Host-token"),
	})
	if err != nil {
		panic(err)
	}
	greeting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if claims, ok := jwthttp.ClaimsFromContext[jwt.MapClaims](r.Context()); ok {
			fmt.Fprintln(w, "hello", claims["sub"])
			return
		}
		fmt.Fprintln(w, "hello stranger")
	})
	expired := issueToken("alice", jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()})
	for _, page := range []struct {
		name string
		h    http.Handler
	}{
		{"anonymous", auth.AllowAnonymous().Handler(greeting)},
		{"optional", auth.Optional().Handler(greeting)},
	} {
		for _, token := range []string{"", issueToken("alice", nil), expired} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Cookie", "__Host-token="+token)
			w := httptest.NewRecorder()
			page.h.ServeHTTP(w, r)
			fmt.Println(page.name, w.Code, strings.TrimSpace(w.Body.String()))
		}
	}

	// Output:
	// anonymous 200 hello stranger
	// anonymous 200 hello alice
	// anonymous 200 hello stranger
	// optional 200 hello stranger
	// optional 200 hello alice
	// optional 401 {"error":"invalid_token","error_description":"token expired","reason":"expired"}
}

// An API takes the token from the Authorization field, browsers send a cookie,
// and a form of RFC 6750 §2.2 has it in its body. More than one is an error.
func ExampleOnlyOne() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{exampleIssuer()},
		Extractor: jwthttp.OnlyOne(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("__Host-token"), jwthttp.FromForm("access_token")),
	})
	if err != nil {
		panic(err)
	}
	token := issueToken("alice", nil)
	for _, tt := range []struct{ authorization, cookie, body string }{
		{authorization: "Bearer " + token},
		{cookie: "__Host-token=" + token},
		{body: "access_token=" + token},
		{authorization: "Bearer " + token, cookie: "__Host-token=" + token},
		{authorization: "Basic dXNlcjpwYXNz", cookie: "other=1", body: "a=1"},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", tt.authorization)
		r.Header.Set("Cookie", tt.cookie)
		_, err := auth.Authenticate(r)
		fmt.Println(err)
	}

	// Output:
	// <nil>
	// <nil>
	// <nil>
	// jwthttp: multiple: more than one token in the request
	// jwthttp: missing: no token in the request: Authorization does not have the scheme "Bearer"
}

// An encrypted cookie hides the claims from its browser. An error other than
// ErrNoToken is a 400: there is a cookie, and it is invalid. An Error chooses
// another answer.
func ExampleExtractor_encryptedCookie() {
	block, err := aes.NewCipher([]byte("a key that is thirty-two bytes!!"))
	if err != nil {
		panic(err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	cookie := jwthttp.FromCookie("__Host-token")
	decrypted := func(r *http.Request) (jwthttp.Credential, error) {
		c, err := cookie(r)
		if err != nil {
			return c, err
		}
		sealed, err := base64.RawURLEncoding.DecodeString(c.Token)
		if err != nil {
			return c, errors.New("cookie is not base64url")
		}
		token, err := seal.Open(nil, nil, sealed, []byte(c.Name))
		c.Token = string(token)
		return c, err
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}, Extractor: decrypted})
	if err != nil {
		panic(err)
	}
	sealed := base64.RawURLEncoding.EncodeToString(seal.Seal(nil, nil, []byte(issueToken("alice", nil)), []byte("__Host-token")))
	for _, value := range []string{sealed, sealed[:30], ""} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", "__Host-token="+value)
		_, err := auth.Authenticate(r)
		fmt.Println(err)
	}

	// Output:
	// <nil>
	// jwthttp: malformed: cipher: message authentication failed
	// jwthttp: missing: no token in the request
}

// An API answers refusals in its own JSON format. Status, challenge and
// Cache-Control are set before the ErrorHandler is called; WriteHeader sends them.
func ExampleOptions_problemJSON() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{exampleIssuer()},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(e.Status)
			_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(e.Status), "status": e.Status, "reason": e.Reason})
		},
	})
	if err != nil {
		panic(err)
	}
	h := auth.Handler(http.NotFoundHandler())
	ask(h, "GET", "/", "")
	ask(h, "GET", "/", "Bearer "+issueToken("alice", jwt.MapClaims{"exp": 1}))

	// Output:
	// GET / 401 {"reason":"missing","status":401,"title":"Unauthorized"}
	// GET / 401 {"reason":"expired","status":401,"title":"Unauthorized"}
}

// A website sends browsers without a valid token, or with two, to its login page,
// and answers everything else as usual.
func ExampleOptions_redirect() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{exampleIssuer()},
		Extractor: jwthttp.FromCookie("__Host-token"),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
			if e.Status != http.StatusUnauthorized && e.Reason != jwthttp.ReasonMultiple || r.Method != http.MethodGet {
				jwthttp.WriteError(w, e)
				return
			}
			http.SetCookie(w, &http.Cookie{Name: "__Host-token", MaxAge: -1, Path: "/", Secure: true, HttpOnly: true})
			w.Header().Del("WWW-Authenticate") // it does not belong to a redirect
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		},
	})
	if err != nil {
		panic(err)
	}
	h := auth.Handler(http.NotFoundHandler())
	for _, method := range []string{"GET", "POST"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/account", nil))
		fmt.Printf("%s %d %q\n", method, w.Code, w.Header().Get("Location"))
	}
	r, w := httptest.NewRequest("GET", "/account", nil), httptest.NewRecorder()
	r.Header.Set("Cookie", "__Host-token=new; __Host-token=old")
	h.ServeHTTP(w, r)
	fmt.Printf("two cookies: %d %q\n", w.Code, w.Header().Get("Location"))

	// Output:
	// GET 303 "/login"
	// POST 401 ""
	// two cookies: 303 "/login"
}

// A rule chooses the answer by returning an Error.
func ExampleError() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	paid := auth.Require(jwthttp.Rule(func(_ *http.Request, claims jwt.MapClaims) error {
		if claims["plan"] != "paid" {
			return &jwthttp.Error{Status: http.StatusPaymentRequired, Reason: "plan", Description: "this needs a paid plan"}
		}
		return nil
	}))
	h := paid.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "report") }))
	ask(h, "GET", "/report", "Bearer "+issueToken("alice", jwt.MapClaims{"plan": "paid"}))
	ask(h, "GET", "/report", "Bearer "+issueToken("bob", nil))

	// Output:
	// GET /report 200 report
	// GET /report 402 {"error":"plan","error_description":"this needs a paid plan","reason":"plan"}
}

// A logout revokes one token; "log out everywhere" revokes all tokens that a user
// has got so far. The list is in memory: a restart forgets it.
func ExampleOptions_logout() {
	var revoked revocation.List
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{exampleIssuer()},
		Revoked: revoked.Revoked,
	})
	if err != nil {
		panic(err)
	}
	logout := func(revoke func(context.Context, *jwthttp.Token) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			token, _ := jwthttp.TokenFromContext(r.Context())
			// A browser that leaves the page must not stop the logout.
			if err := revoke(context.WithoutCancel(r.Context()), token); err != nil {
				http.Error(w, "not logged out", http.StatusInternalServerError)
				return
			}
			fmt.Fprintln(w, "logged out")
		}
	}
	everywhere := func(ctx context.Context, token *jwthttp.Token) error {
		now := time.Now()
		return revoked.Revoke(ctx, revocation.Entry{
			Kind:        revocation.BySubject,
			Issuer:      token.Issuer,
			Value:       token.Subject,
			IssuedUntil: now,
			Expires:     now.Add(15 * time.Minute), // the lifetime of our tokens
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /list", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the list") })
	mux.HandleFunc("POST /logout", logout(revoked.RevokeToken))
	mux.HandleFunc("POST /logout-everywhere", logout(everywhere))
	site := auth.Handler(mux)

	laptop := "Bearer " + issueToken("alice", jwt.MapClaims{"jti": "1"})
	phone := "Bearer " + issueToken("alice", jwt.MapClaims{"jti": "2"})
	ask(site, "POST", "/logout", laptop)
	ask(site, "GET", "/list", laptop)
	ask(site, "GET", "/list", phone)
	ask(site, "POST", "/logout-everywhere", phone)
	ask(site, "GET", "/list", phone)

	// Output:
	// POST /logout 200 logged out
	// GET /list 401 {"error":"invalid_token","error_description":"token revoked","reason":"revoked"}
	// GET /list 200 the list
	// POST /logout-everywhere 200 logged out
	// GET /list 401 {"error":"invalid_token","error_description":"token revoked","reason":"revoked"}
}

// A stream of events ends when its token does.
func ExampleMiddleware_Watch() {
	var revoked revocation.List
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{exampleIssuer()},
		Revoked: revoked.Revoked,
	})
	if err != nil {
		panic(err)
	}
	site := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := auth.Watch(r.Context(), time.Millisecond) // some seconds in a real program
		defer cancel()
		fmt.Fprintln(w, "event: hello")
		if token, ok := jwthttp.TokenFromContext(ctx); ok { // a logout elsewhere
			_ = revoked.RevokeToken(ctx, token)
		}
		<-ctx.Done()
		var refused *jwthttp.Error
		if errors.As(context.Cause(ctx), &refused) {
			fmt.Fprintln(w, "event: end, data:", refused.Reason)
		}
	}))
	ask(site, "GET", "/events", "Bearer "+issueToken("alice", nil))

	// Output:
	// GET /events 200 event: hello
	// event: end, data: revoked
}

// A browser cannot set header fields of a WebSocket, so the client sends the
// token as its first message. Then Watch ends the connection with the token.
func ExampleMiddleware_Verify() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	chat := auth.RequireScopes("chat")
	connection := func(ctx context.Context, messages ...string) { // of a WebSocket library
		ctx, err := chat.Verify(ctx, messages[0])
		if err != nil {
			fmt.Println("close 1008:", err)
			return
		}
		ctx, cancel := chat.Watch(ctx, 10*time.Second)
		defer cancel()
		for _, message := range messages[1:] {
			if ctx.Err() != nil {
				fmt.Println("close 1008:", context.Cause(ctx))
				return
			}
			fmt.Println(jwthttp.MustClaims[jwt.MapClaims](ctx)["sub"], "says", message)
		}
	}
	connection(context.Background(), issueToken("alice", jwt.MapClaims{"scope": "chat"}), "hello", "goodbye")
	connection(context.Background(), issueToken("bob", nil), "hello")
	connection(context.Background(), "hello")

	// Output:
	// alice says hello
	// alice says goodbye
	// close 1008: jwthttp: scope: have scopes none, want "chat"
	// close 1008: jwthttp: malformed: not three base64url segments
}
