package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/revocation"
)

// listStore is a store in memory. Unlike a List it heeds the context when it
// writes, as the stores with a database do.
type listStore struct{ revocation.List }

func (s *listStore) Staleness() time.Duration { return 0 }
func (s *listStore) Wait()                    {}

func (s *listStore) Revoke(ctx context.Context, e revocation.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.List.Revoke(ctx, e)
}

func (s *listStore) RevokeToken(ctx context.Context, t *jwthttp.Token) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.List.RevokeToken(ctx, t)
}

func TestNewAPI_logout(t *testing.T) {
	for _, test := range []struct {
		name, path string
		other      time.Duration // "iat" of another token, after now
		want       int           // its status after the logout
	}{
		{"one token", "/logout", 0, 200},
		{"everywhere", "/logout/everywhere", 0, 401},
		{"everywhere, with a token of an instance whose clock is ahead", "/logout/everywhere", leeway - 5*time.Second, 401},
		{"everywhere, with an old token", "/logout/everywhere", -lifetime / 2, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret := make([]byte, 32)
			api, err := newAPI(secret, &listStore{}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			sign := func(issued time.Time) string {
				token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
					Issuer: issuerName, Audience: jwt.ClaimStrings{issuerName}, Subject: demo.Alice, ID: rand.Text(),
					IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(issued.Add(lifetime)),
				}).SignedString(secret)
				if err != nil {
					t.Fatal(err)
				}
				return token
			}
			status := func(ctx context.Context, method, path, token string) int {
				r := httptest.NewRequestWithContext(ctx, method, path, nil)
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				api.ServeHTTP(w, r)
				return w.Code
			}
			used, other := sign(time.Now()), sign(time.Now().Add(test.other))
			if got := status(t.Context(), "GET", "/me", other); got != http.StatusOK {
				t.Fatalf("before the logout: %d", got)
			}
			hungUp, cancel := context.WithCancel(t.Context())
			cancel()
			if got := status(hungUp, "POST", test.path, used); got != http.StatusNoContent {
				t.Errorf("a logout of a client that hangs up: %d", got)
			}
			if got := status(t.Context(), "GET", "/me", used); got != http.StatusUnauthorized {
				t.Errorf("the used token: %d", got)
			}
			if got := status(t.Context(), "GET", "/me", other); got != test.want {
				t.Errorf("the other token: %d, want %d", got, test.want)
			}
		})
	}
}
