package jwthttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// benchClaims are the claims that both contenders decode.
type benchClaims struct {
	jwt.RegisteredClaims
	Role        string   `json:"role"`
	Tenant      string   `json:"tid"`
	Permissions []string `json:"permissions"`
}

// byHand is a handler written with golang-jwt. It checks method, expiry, issuer and
// audience.
func byHand(method string, key any, next http.Handler) http.Handler {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{method}),
		jwt.WithExpirationRequired(),
		jwt.WithIssuer(issuerName),
		jwt.WithAudience(audienceName),
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		var claims benchClaims
		if _, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(jwthttp.ContextWithClaims(r.Context(), claims)))
	})
}

// BenchmarkRequest times an admitted and two refused requests per algorithm, with
// this package and by hand. The signature of "altered" is invalid; that of
// "expired" is not verified. "cached" is this package with the token in its cache.
func BenchmarkRequest(b *testing.B) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	secret := make([]byte, 32)
	for _, bm := range []struct {
		method          jwt.SigningMethod
		private, public any
	}{
		{jwt.SigningMethodHS256, secret, secret},
		{jwt.SigningMethodRS256, rsaKey, &rsaKey.PublicKey},
		{jwt.SigningMethodPS256, rsaKey, &rsaKey.PublicKey},
		{jwt.SigningMethodES256, ecKey, &ecKey.PublicKey},
		{jwt.SigningMethodEdDSA, edKey, edPublic},
	} {
		alg := bm.method.Alg()
		claims := benchClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: issuerName, Subject: "user-4711", Audience: jwt.ClaimStrings{audienceName},
				ID: "0b9d3f3e-8f5a-4ac0-9c1b-6a1f0a3f5f11", IssuedAt: jwt.NewNumericDate(time.Now()),
				ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
			},
			Role: "editor", Tenant: "tenant-17",
			Permissions: []string{"orders:read", "orders:write", "customers:read"},
		}
		good := mustSign(b, bm.method, bm.private, claims)
		claims.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Hour))
		expired := mustSign(b, bm.method, bm.private, claims)
		opts := jwthttp.Options{Issuers: []jwthttp.Issuer{{
			Name: issuerName, Audience: []string{audienceName}, Algorithms: []string{alg}, Keys: jwthttp.StaticKey(bm.public),
		}}}
		m := mustNew[benchClaims](b, opts)
		opts.CacheSize = 100
		cached := mustNew[benchClaims](b, opts)
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if c, ok := jwthttp.ClaimsFromContext[benchClaims](r.Context()); !ok || c.Role != "editor" {
				panic("no claims")
			}
		})
		for _, request := range []struct{ name, token string }{
			{"admitted", good}, {"altered", altered(good)}, {"expired", expired},
		} {
			for _, contender := range []struct {
				name    string
				handler http.Handler
			}{{"jwthttp", m.Handler(next)}, {"cached", cached.Handler(next)}, {"hand", byHand(alg, bm.public, next)}} {
				b.Run(alg+"/"+request.name+"/"+contender.name, func(b *testing.B) {
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					r.Header.Set("Authorization", "Bearer "+request.token)
					want := http.StatusUnauthorized
					if request.name == "admitted" {
						want = http.StatusOK
					}
					b.ReportAllocs()
					for b.Loop() {
						w := discard{h: http.Header{}, status: http.StatusOK}
						contender.handler.ServeHTTP(&w, r)
						if w.status != want {
							b.Fatalf("status %d", w.status)
						}
					}
				})
			}
		}
	}
}

type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// BenchmarkRevocation times a cached request without a hook, with one that does
// nothing, and with a list of entries of one to all kinds, none of which is the
// token's.
func BenchmarkRevocation(b *testing.B) {
	until := time.Now().Add(-time.Hour)
	entry := func(kind revocation.Kind, i int) revocation.Entry {
		e := revocation.Entry{Kind: kind, Issuer: issuerName, Value: strconv.Itoa(i)}
		if kind != revocation.ByID {
			e.IssuedUntil = until
		}
		return e
	}
	token := goodToken(map[string]any{"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "sid": "session-4711", "client_id": "app-4711"})
	run := func(name string, revoked jwthttp.RevokedFunc) {
		opts := newOptions()
		opts.Revoked, opts.CacheSize = revoked, 64
		m := mustNew[struct{}](b, opts)
		b.Run(name, func(b *testing.B) {
			r := newRequest(withBearer(token))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("no hook", nil)
	run("a hook that does nothing", func(context.Context, *jwthttp.Token) (bool, error) { return false, nil })
	for _, n := range []int{0, 1e4, 1e6} {
		for _, kinds := range [][]revocation.Kind{
			{revocation.ByID}, {revocation.ByID, revocation.BySubject},
			{revocation.ByID, revocation.BySubject, revocation.BySession, revocation.ByClient},
		} {
			var list revocation.List
			for _, kind := range kinds {
				for i := range n / len(kinds) {
					if err := list.Revoke(b.Context(), entry(kind, i)); err != nil {
						b.Fatal(err)
					}
				}
			}
			run(fmt.Sprintf("%d entries of %d kinds", n, len(kinds)), list.Revoked)
		}
	}
}
