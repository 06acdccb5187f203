package logout_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

// A logout at the provider ends the access tokens of the session.
func ExampleBackChannel() {
	const provider = "https://login.example"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // of the provider
	if err != nil {
		panic(err)
	}
	issuer := func(audience string) []jwthttp.Issuer {
		return []jwthttp.Issuer{{Name: provider, Audience: []string{audience}, Algorithms: []string{"ES256"}, Keys: jwthttp.StaticKey(key.Public())}}
	}
	var revoked revocation.List // several machines share a store of sqlrevocation or redisrevocation
	receiver, err := logout.BackChannel(logout.Options{
		Issuers:       issuer("client-of-this-api"),
		Revoke:        revoked.Revoke,
		TokenLifetime: time.Hour,
	})
	if err != nil {
		panic(err)
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: issuer("https://api.example"), Revoked: revoked.Revoked})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/backchannel-logout", receiver) // not inside auth
	mux.Handle("/notes", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "notes") })))

	now := time.Now().Unix()
	sign := func(typ string, claims jwt.MapClaims) string {
		t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
		t.Header["typ"] = typ
		signed, err := t.SignedString(key)
		if err != nil {
			panic(err)
		}
		return signed
	}
	access := sign("at+jwt", jwt.MapClaims{"iss": provider, "aud": "https://api.example", "sub": "alice", "sid": "s1", "iat": now, "exp": now + 3600})
	message := sign("logout+jwt", jwt.MapClaims{"iss": provider, "aud": "client-of-this-api", "sub": "alice", "sid": "s1", "iat": now, "exp": now + 120, "jti": "1",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})

	get := func() int {
		r := httptest.NewRequest("GET", "/notes", nil)
		r.Header.Set("Authorization", "Bearer "+access)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println("before:", get())
	r := httptest.NewRequest("POST", "/backchannel-logout", strings.NewReader(url.Values{"logout_token": {message}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println("logout:", w.Code)
	fmt.Println("after:", get())
	// Output:
	// before: 200
	// logout: 200
	// after: 401
}

// A provider that knows users by their email address. Entries finds their
// subjects, and leaves other events to DefaultEntries.
func ExamplePush() {
	var store revocation.List
	subjectOf := map[string]string{"alice@example.com": "user-1"} // a table of the application
	receiver, err := logout.Push(logout.PushOptions{
		Options: logout.Options{
			Issuers:       []jwthttp.Issuer{{Name: "https://signals.example", Audience: []string{"client-1"}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(make([]byte, 32))}},
			Revoke:        store.Revoke,
			TokenLifetime: time.Hour,
		},
		Authorization: "Bearer what-the-sender-was-told",
		Entries: func(_ context.Context, e logout.SecurityEvent) ([]revocation.Entry, error) {
			if e.Subject.Format != "email" || subjectOf[e.Subject.Email] == "" {
				return logout.DefaultEntries(e), nil
			}
			return []revocation.Entry{{
				Kind: revocation.BySubject, Issuer: "https://login.example", Value: subjectOf[e.Subject.Email], IssuedUntil: e.Time,
			}}, nil // Expires is filled in
		},
	})
	if err != nil {
		panic(err)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://signals.example", "aud": "client-1", "iat": time.Now().Unix(), "jti": "1",
		"sub_id": map[string]any{"format": "email", "email": "alice@example.com"},
		"events": map[string]any{"https://schemas.openid.net/secevent/caep/event-type/session-revoked": map[string]any{}},
	})
	t.Header["typ"] = "secevent+jwt"
	token, err := t.SignedString(make([]byte, 32))
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("POST", "/events", strings.NewReader(token))
	r.Header.Set("Content-Type", "application/secevent+jwt")
	r.Header.Set("Authorization", "Bearer what-the-sender-was-told")
	w := httptest.NewRecorder()
	receiver.ServeHTTP(w, r)
	fmt.Println(w.Code, store.Len())
	// Output: 202 1
}
