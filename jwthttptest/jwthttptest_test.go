package jwthttptest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

func status(m *jwthttp.Middleware, token string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	_, err := m.Authenticate(r)
	if err == nil {
		return "admitted"
	}
	return string(err.(*jwthttp.Error).Reason)
}

func middleware(t *testing.T, issuer jwthttp.Issuer) *jwthttp.Middleware {
	t.Helper()
	m, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTokensOfEveryAlgorithm(t *testing.T) {
	for _, alg := range []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			issuer := jwthttptest.New(t, alg)
			m := middleware(t, issuer.Trusted())
			for token, want := range map[string]string{
				issuer.Token(nil):                                 "admitted",
				issuer.Token(struct{ Role string }{"x"}):          "admitted",
				issuer.Token(map[string]any{"sub": "bob"}):        "admitted",
				issuer.Token(map[string]any{"exp": nil}):          "malformed",
				issuer.Token(map[string]any{"aud": "x"}):          "audience",
				issuer.Expired(nil):                               "expired",
				issuer.NotYetValid(nil):                           "not_yet_valid",
				issuer.Forged(nil):                                "signature",
				issuer.Tampered(nil):                              "signature",
				issuer.Tampered(map[string]any{"sub": "mallory"}): "signature",
				issuer.Sign(map[string]any{"typ": "x"}, map[string]any{"iss": issuer.Name(), "aud": jwthttptest.Audience}): "type",
				issuer.Sign(map[string]any{"kid": nil, "typ": nil}, issuerClaims(issuer)):                                  "unknown_key",
			} {
				if got := status(m, token); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
		})
	}
}

func issuerClaims(i *jwthttptest.Issuer) map[string]any {
	return map[string]any{"iss": i.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Add(time.Hour).Unix()}
}

func TestKeysComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		m := middleware(t, issuer.Trusted())
		first, old := issuer.KeyID(), issuer.Token(nil)
		second := issuer.Publish()
		if issuer.KeyID() != first || issuer.Rotate() == second || issuer.KeyID() == first {
			t.Error("the wrong key signs")
		}
		issuer.Use(second)
		issuer.Withdraw(first)
		if got := status(m, old); got != "unknown_key" {
			t.Errorf("a withdrawn key: %s", got)
		}
		if got := status(m, issuer.Token(nil)); got != "admitted" {
			t.Errorf("the new key: %s", got)
		}
	})
}

// Over a socket, and without one.
func TestKeySetAndDiscovery(t *testing.T) {
	check := func(t *testing.T, issuer *jwthttptest.Issuer, client *http.Client) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		opts := jwthttp.JWKSOptions{Client: client}
		set, err := jwthttp.NewJWKS(ctx, issuer.KeySetURL(), opts)
		if err != nil {
			t.Fatal(err)
		}
		found, err := jwthttp.DiscoverJWKS(ctx, issuer.Name(), opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range []*jwthttp.JWKS{set, found} {
			trusted := issuer.Trusted()
			trusted.Keys = source
			if got := status(middleware(t, trusted), issuer.Token(nil)); got != "admitted" {
				t.Error(got)
			}
		}
		if issuer.Fetches() != 2 {
			t.Errorf("%d fetches", issuer.Fetches())
		}
		issuer.Down(true)
		if set.Refresh(ctx) == nil {
			t.Error("the server is up")
		}
		issuer.Down(false)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "own", http.StatusTeapot) })
		if set.Refresh(ctx) == nil {
			t.Error("the answer is the truth")
		}
		issuer.Answer(nil)
		if err := set.Refresh(ctx); err != nil {
			t.Error(err)
		}
		if resp, err := client.Get(issuer.Name() + "/other"); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("another path: %v, %v", resp, err)
		}
	}
	t.Run("Start", func(t *testing.T) { check(t, jwthttptest.Start(t, "ES256"), http.DefaultClient) })
	t.Run("New", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := jwthttptest.New(t, "RS256")
			check(t, issuer, issuer.Client())
			issuer.Slow(time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, issuer.KeySetURL(), nil)
			if _, err := issuer.Client().Do(r); err == nil {
				t.Error("not slow")
			}
		})
	})
}

func TestMistakesEndTheTest(t *testing.T) {
	for name, f := range map[string]func(*recorder){
		"an unknown algorithm":       func(tb *recorder) { jwthttptest.New(tb, "none") },
		"claims that are no object":  func(tb *recorder) { jwthttptest.New(tb, "HS256").Token("x") },
		"claims that do not marshal": func(tb *recorder) { jwthttptest.New(tb, "HS256").Token(make(chan int)) },
		"use of an unknown key":      func(tb *recorder) { jwthttptest.New(tb, "HS256").Use("x") },
		"withdrawal of one":          func(tb *recorder) { jwthttptest.New(tb, "HS256").Withdraw("x") },
	} {
		t.Run(name, func(t *testing.T) {
			tb := &recorder{TB: t}
			done := make(chan struct{})
			go func() { defer close(done); f(tb) }()
			<-done
			if !tb.failed {
				t.Error("went on")
			}
		})
	}
}

// recorder is a testing.TB that may fail.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Fatalf(string, ...any) {
	r.failed = true
	runtime.Goexit()
}
