package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

// A logout at oidc-provider, a package of npm, ends the access tokens of the user.
func TestLogout(t *testing.T) {
	for _, tt := range []struct {
		name                      string
		sidInMessage, sidInTokens bool
		bySubject                 bool
		ended                     []revocation.Kind
		anotherSessionEnds        bool
	}{
		{"sid everywhere", true, true, false, []revocation.Kind{revocation.BySession}, false},
		{"sid in logout tokens only", true, false, true, []revocation.Kind{revocation.BySession, revocation.BySubject}, true},
		{"sub alone", false, false, false, []revocation.Kind{revocation.BySubject}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const api = "https://api.example"
			var receiver atomic.Value // the provider's URL is not known before that of the receiver
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				receiver.Load().(http.Handler).ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			node := startNode(t, "oidclogout.mjs", server.URL, fmt.Sprint(tt.sidInMessage), fmt.Sprint(tt.sidInTokens))
			issuer := node.line(t)
			keys, err := jwks.Discover(t.Context(), issuer, jwks.Options{OnError: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			trusted := func(audience string, types []string) []jwthttp.Issuer {
				return []jwthttp.Issuer{{Name: issuer, Audience: []string{audience}, Algorithms: []string{"RS256"}, Keys: keys, Types: types}}
			}
			var revoked revocation.List
			events := make(chan logout.Event, 1)
			h, err := logout.BackChannel(logout.Options{
				Issuers: trusted("web", nil), Revoke: revoked.Revoke, TokenLifetime: time.Hour, BySubject: tt.bySubject,
				Observer: func(_ context.Context, e logout.Event) { events <- e },
			})
			if err != nil {
				t.Fatal(err)
			}
			receiver.Store(h)
			auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: trusted(api, []string{"at+jwt"}), Revoked: revoked.Revoked, CacheSize: 10})
			if err != nil {
				t.Fatal(err)
			}
			check := func(name, token string, ends bool) {
				t.Helper()
				if _, err := auth.Verify(t.Context(), token); ends != errors.Is(err, jwthttp.ErrRevoked) || !ends && err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			login := func(user string) (*flow, tokens) {
				f := newFlow(t, issuer, "web")
				return f, f.login(url.Values{"resource": {api}, "scope": {"openid"}}, url.Values{"login": {user}, "password": {"any"}})
			}
			alice, access := login("alice")
			_, phone := login("alice")
			_, bob := login("bob")
			for _, token := range []tokens{access, phone, bob} {
				check("before", token.Access, false)
			}

			resp, page := alice.open(alice.endpoint("end_session_endpoint") + "?id_token_hint=" + access.ID)
			start := time.Now()
			alice.submit(resp.Request.URL, string(page), url.Values{"logout": {"yes"}})
			check("the session", access.Access, true)
			t.Logf("ended %v after the logout", time.Since(start))
			check("another session of the user", phone.Access, tt.anotherSessionEnds)
			check("another user", bob.Access, false)
			if got := node.line(t); got != "received" {
				t.Errorf("oidc-provider: %s", got)
			}
			e := <-events
			var kinds []revocation.Kind
			for _, entry := range e.Ended {
				kinds = append(kinds, entry.Kind)
			}
			if fmt.Sprint(kinds) != fmt.Sprint(tt.ended) || e.Err != nil || e.Sender != issuer {
				t.Errorf("%v: %v, want %v", e, kinds, tt.ended)
			}
		})
	}
}
