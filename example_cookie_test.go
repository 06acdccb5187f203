package jwthttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

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
