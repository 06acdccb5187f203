package jwthttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

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
