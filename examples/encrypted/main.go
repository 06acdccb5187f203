// Encrypted keeps a signed token in a cookie that nobody but the server can
// read: a nested JWT (RFC 7519 §A.2), which a jwthttp.Extractor decrypts with
// go-jose.
//
//	go run -C examples ./encrypted
//
// It is worth it if the claims say something that the browser's owner, its
// extensions or a proxy's log must not read, and the server is to keep nothing.
// A token without such claims needs no encryption: a signature is what makes it
// safe. And where the server has a store anyway, a random session id in the
// cookie with the claims in the store is simpler, shorter, and ends when the
// store says so.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

const (
	cookieName = "__Host-session"
	lifetime   = 15 * time.Minute
)

// claims hold what the owner of the browser is not to read.
type claims struct {
	jwt.RegisteredClaims
	CreditRating string `json:"credit_rating"`
}

func main() {
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		a := newApp(url)
		handler, err := a.handler()
		return handler, strings.ReplaceAll(greeting, "URL", url), err
	})
}

// app has two keys for two purposes: whoever can decrypt cannot thereby sign.
type app struct {
	name    string // issuer and audience alike
	signing []byte
	sealer  *sealer
}

func newApp(url string) *app {
	a := &app{name: url, signing: make([]byte, 32), sealer: newSealer()}
	rand.Read(a.signing) // never fails
	return a
}

func (a *app) handler() (http.Handler, error) {
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: a.name, Audience: []string{a.name}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(a.signing),
		}},
		Extractor:    a.sealer.extractor(cookieName),
		ErrorHandler: refuse,
	})
	if err != nil {
		return nil, err
	}
	// Login CSRF: the guard of the middleware is for requests with a token.
	guard := http.NewCrossOriginProtection()
	mux := http.NewServeMux()
	mux.Handle("POST /sign-in", guard.Handler(http.HandlerFunc(a.signIn)))
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(me)))
	mux.Handle("POST /sign-out", auth.Handler(http.HandlerFunc(signOut)))
	// For the demonstration: a program does this by the clock.
	mux.Handle("POST /rotate", guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { a.sealer.rotate() })))
	return mux, nil
}

// signIn asks for no password: examples/login does.
func (a *app) signIn(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{CreditRating: "BB+", RegisteredClaims: jwt.RegisteredClaims{
		Issuer: a.name, Audience: jwt.ClaimStrings{a.name}, Subject: "alice",
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
	}}).SignedString(a.signing)
	if err == nil {
		signed, err = a.sealer.seal(signed)
	}
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	setCookie(w, signed, int(lifetime.Seconds()))
}

// refuse clears a cookie that will not get better: sealed with a key that is
// gone, or holding a token that has expired. The cause is for the log.
func refuse(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
	if e.Reason == jwthttp.ReasonMalformed || e.Status == http.StatusUnauthorized && e.Reason != jwthttp.ReasonMissing {
		setCookie(w, "", -1)
	}
	log.Print(e)
	jwthttp.WriteError(w, e)
}

// me answers with the claims, so that there is something to see. A real one
// would decide by them and keep them to itself.
func me(w http.ResponseWriter, r *http.Request) {
	c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(c)
}

// signOut clears the cookie. A copy of it lives on until it expires, unless
// Options.Revoked says otherwise: see examples/login.
func signOut(w http.ResponseWriter, _ *http.Request) { setCookie(w, "", -1) }

func setCookie(w http.ResponseWriter, value string, maxAge int) {
	w.Header().Set("Cache-Control", "no-store")
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// greeting has lines to paste into a shell. The cookie is sent by hand: it is
// for https, which an example does not speak.
const greeting = `Claims in an encrypted cookie at URL; paste this into a shell:

sign_in() { curl -s -i -X POST URL/sign-in | sed -n 's/^Set-Cookie: \([^;]*\).*/\1/p'; }
COOKIE=$(sign_in)
echo "$(echo "$COOKIE" | tr -cd . | wc -c | tr -d ' '), expected 4: dots in a JWE, of which only the header can be read: $(echo "$COOKIE" | sed 's/[^=]*=\([^.]*\).*/\1==/' | base64 -d 2>/dev/null)"
curl -s -w '%{http_code}, expected 401: no cookie\n' URL/me
curl -s -w '%{http_code}, expected 200: the server reads it\n' -H "Cookie: $COOKIE" URL/me
curl -s -w '%{http_code}, expected 400: a byte was changed\n' -H "Cookie: ${COOKIE%????}AAAA" URL/me
curl -s -w '%{http_code}, expected 403: another site makes the browser send it\n' -X POST -H 'Sec-Fetch-Site: cross-site' -H "Cookie: $COOKIE" URL/sign-out
curl -s -w '%{http_code}, expected 200: a new key encrypts\n' -X POST URL/rotate
curl -s -w '%{http_code}, expected 200: the old one still decrypts\n' -H "Cookie: $COOKIE" URL/me
NEW=$(sign_in)
curl -s -w '%{http_code}, expected 200: the next one\n' -X POST URL/rotate
curl -s -w '%{http_code}, expected 400: the first key is gone\n' -H "Cookie: $COOKIE" URL/me
curl -s -w '%{http_code}, expected 200: the second is not\n' -H "Cookie: $NEW" URL/me
curl -s -w '%{http_code}, expected 200: signed out\n' -X POST -H "Cookie: $NEW" URL/sign-out

`
