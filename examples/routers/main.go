// Routers is one small API on seven routers. The router changes how a route is
// declared. It does not change which requests are admitted.
//
//	go run -C examples ./routers -router chi
//
// Each of the other files is one router, ready to be copied. It has a public
// route, an app that requires a token, a group of routes that requires a scope,
// and a route with a rule that compares its path with the claims.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

const (
	issuer   = "https://login.example"
	audience = "https://api.example"
)

// Claims are the claims of a token.
type Claims struct {
	jwt.RegisteredClaims
	Tenant string `json:"tid,omitempty"`
	Scope  string `json:"scope,omitempty"`
}

// routers are the routers by name. Each serves
//
//	GET  /health                  for everyone
//	GET  /me                      with a token
//	POST /tenants/{tenant}/orders with the scope orders:write, for the token's tenant
var routers = map[string]func(*jwthttp.Middleware, *orders) http.Handler{
	"servemux":   newServeMux,
	"chi":        newChi,
	"gorilla":    newGorilla,
	"httprouter": newHTTPRouter,
	"echo":       newEcho,
	"gin":        newGin,
	"fiber":      newFiberHandler,
}

// newAuth is the same for every router.
func newAuth(secret []byte) (*jwthttp.Middleware, error) {
	return jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{audience},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret),
	}}})
}

// sameTenant returns an error unless the claims are of the tenant. It must be the
// parameter that the router has matched, because other code that parses the path
// could find another one. A token without a tenant has no access to any.
func sameTenant(claims Claims, tenant string) error {
	if tenant == "" || tenant != claims.Tenant {
		return fmt.Errorf("token of tenant %q, path of tenant %q", claims.Tenant, tenant)
	}
	return nil
}

func health(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") }

func me(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, greet(r.Context())) }

func greet(ctx context.Context) string {
	claims := jwthttp.MustClaims[Claims](ctx)
	return fmt.Sprintf("%s of %s\n", claims.Subject, claims.Tenant)
}

// orders are the tenants that orders were placed for.
type orders struct {
	mu      sync.Mutex
	tenants []string
}

// place places an order and returns the body of the response.
func (o *orders) place(ctx context.Context, tenant string) string {
	claims := jwthttp.MustClaims[Claims](ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tenants = append(o.tenants, tenant)
	return fmt.Sprintf("order %d, for %s by %s\n", len(o.tenants), tenant, claims.Subject)
}

func sign(secret []byte, scope string) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: "alice",
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Tenant: "acme",
		Scope:  scope,
	}).SignedString(secret)
}

func main() {
	names := strings.Join(slices.Sorted(maps.Keys(routers)), ", ")
	name := flag.String("router", "servemux", "one of "+names)
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		router, ok := routers[*name]
		if !ok {
			return nil, "", fmt.Errorf("-router %q: must be one of %s", *name, names)
		}
		secret := make([]byte, sha256.Size) // HS256 needs at least as many bytes as its hash has
		_, _ = rand.Read(secret)            // never fails
		auth, err := newAuth(secret)
		if err != nil {
			return nil, "", err
		}
		writer, errWriter := sign(secret, "orders:write")
		reader, errReader := sign(secret, "orders:read")
		return router(auth, new(orders)), greeting(*name, url, writer, reader), errors.Join(errWriter, errReader)
	})
}

// greeting has lines to paste into a shell. Both tokens are alice's, of acme.
func greeting(name, url, writer, reader string) string {
	return strings.NewReplacer("NAME", name, "URL", url, "$1", writer, "$2", reader).Replace(`This is NAME. Paste this into a shell:

WRITER=$1
READER=$2
curl -s -w '%{http_code}, expected 200: for everyone\n' URL/health
curl -s -w '%{http_code}, expected 401: no token\n' URL/me
curl -s -w '%{http_code}, expected 200: who I am\n' -H "Authorization: Bearer $READER" URL/me
curl -s -w '%{http_code}, expected 201: an order in her tenant\n' -X POST -H "Authorization: Bearer $WRITER" URL/tenants/acme/orders
curl -s -w '%{http_code}, expected 403: another tenant\n' -X POST -H "Authorization: Bearer $WRITER" URL/tenants/globex/orders
curl -s -w '%{http_code}, expected 403: without the scope\n' -X POST -H "Authorization: Bearer $READER" URL/tenants/acme/orders
`)
}
