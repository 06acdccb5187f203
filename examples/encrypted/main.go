// Encrypted keeps a signed token in a cookie that only the server can read. The
// cookie is a nested JWT (RFC 7519 §A.2), which a jwthttp.Extractor decrypts with
// go-jose.
//
//	go run -C examples ./encrypted
//
// Encrypt a token only if its claims must not be read by the user, by browser
// extensions or in the log of a proxy, and if the server has no store. Other
// tokens need no encryption, because the signature protects them. If the server
// has a store, keep the claims there and put a random session ID into the cookie:
// that is simpler and shorter, and the server can end the session.
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

// claims are the claims of a token. The user must not read the credit rating.
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

// app has separate keys for signing and for encryption, so the key that decrypts
// cannot sign.
type app struct {
	name    string // both issuer and audience
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
	// Login CSRF: the middleware checks only requests that have a token.
	sameOrigin := http.NewCrossOriginProtection()
	mux := http.NewServeMux()
	mux.Handle("POST /sign-in", sameOrigin.Handler(http.HandlerFunc(a.signIn)))
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(me)))
	mux.Handle("POST /sign-out", auth.Handler(http.HandlerFunc(signOut)))
	// This route is for the demonstration. A real program rotates keys periodically.
	mux.Handle("POST /rotate", sameOrigin.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { a.sealer.rotate() })))
	return mux, nil
}

// signIn checks no password. See examples/login for that.
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

// refuse is the jwthttp.Options.ErrorHandler. It deletes a cookie that will never be
// accepted: one that does not decrypt, that has an invalid token, or that came
// twice. After a 403 or 503 the same cookie may be accepted.
func refuse(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
	if e.Code == "invalid_token" || e.Code == "invalid_request" {
		setCookie(w, "", -1)
	}
	log.Print(e)
	jwthttp.WriteError(w, e)
}

// me returns the claims for the demonstration. A real program would use them and
// not show them.
func me(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(jwthttp.MustClaims[claims](r.Context()))
}

// signOut deletes the cookie. A copy of it stays valid until it expires. See
// examples/login for a logout that revokes the token.
func signOut(w http.ResponseWriter, _ *http.Request) { setCookie(w, "", -1) }

func setCookie(w http.ResponseWriter, value string, maxAge int) {
	w.Header().Set("Cache-Control", "no-store")
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// greeting has lines to paste into a shell. They send the cookie explicitly, because
// curl does not send a Secure cookie over http.
const greeting = `Claims in an encrypted cookie at URL. Paste this into a shell:

sign_in() { curl -s -i -X POST URL/sign-in | sed -n 's/^Set-Cookie: \([^;]*\).*/\1/p'; }
COOKIE=$(sign_in)
echo "$(echo "$COOKIE" | tr -cd . | wc -c | tr -d ' '), expected 4: dots in a JWE; only its header is readable: $(echo "$COOKIE" | sed 's/[^=]*=\([^.]*\).*/\1==/' | base64 -d 2>/dev/null)"
curl -s -w '%{http_code}, expected 401: no cookie\n' URL/me
curl -s -w '%{http_code}, expected 200: the server decrypts it\n' -H "Cookie: $COOKIE" URL/me
curl -s -w '%{http_code}, expected 400: a byte was changed\n' -H "Cookie: ${COOKIE%????}AAAA" URL/me
curl -s -w '%{http_code}, expected 403: a request from another site\n' -X POST -H 'Sec-Fetch-Site: cross-site' -H "Cookie: $COOKIE" URL/sign-out
curl -s -w '%{http_code}, expected 200: a new key encrypts\n' -X POST URL/rotate
curl -s -w '%{http_code}, expected 200: the old one still decrypts\n' -H "Cookie: $COOKIE" URL/me
NEW=$(sign_in)
curl -s -w '%{http_code}, expected 200: the next new key\n' -X POST URL/rotate
curl -s -w '%{http_code}, expected 400: the first key is gone\n' -H "Cookie: $COOKIE" URL/me
curl -s -w '%{http_code}, expected 200: the second key still decrypts\n' -H "Cookie: $NEW" URL/me
curl -s -w '%{http_code}, expected 200: signed out\n' -X POST -H "Cookie: $NEW" URL/sign-out

`
