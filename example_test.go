package jwthttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// exampleIssuer is an issuer that signs with one secret. A real program reads the
// secret from a file or the environment.
func exampleIssuer() jwthttp.Issuer {
	return jwthttp.Issuer{
		Name:       "https://login.example",
		Audience:   []string{"https://api.example"},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret),
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
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
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
