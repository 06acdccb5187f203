// Connect is a Connect service, which also serves gRPC and gRPC-Web. The middleware
// of package jwthttp guards it as any other http.Handler, with a scope for each
// procedure and refusals in the protocol of the client.
//
//	go run -C examples ./connect
//
// connect.go has what a service with generated code needs as well. orders.go stands
// in for the service and its generated code.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
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
	Scope string `json:"scope,omitempty"`
}

func sign(secret []byte, scopes string) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: "alice",
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Scope: scopes,
	}).SignedString(secret)
}

func main() {
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		secret := make([]byte, sha256.Size) // HS256 needs at least as many bytes as its hash has
		_, _ = rand.Read(secret)            // never fails
		api, err := newAPI(jwthttp.Options{Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{audience},
			Algorithms: []string{"HS256"},
			Keys:       jwthttp.StaticKey(secret),
		}}}, &orders{pause: 100 * time.Millisecond})
		reader, errReader := sign(secret, "orders:read")
		writer, errWriter := sign(secret, "orders:read orders:write")
		return api, greeting(url, reader, writer), errors.Join(err, errReader, errWriter)
	})
}

// greeting has lines to paste into a shell. Both tokens are alice's.
func greeting(url, reader, writer string) string {
	return strings.NewReplacer("URL", url, "$1", reader, "$2", writer).Replace(`Orders by Connect. Paste this into a shell:

READER=$1
WRITER=$2
ask() { curl -s -H 'Content-Type: application/json' -d '"42"' "$@"; }
ask -w '\n%{http_code}, expected 200: an order\n' -H "Authorization: Bearer $READER" URL/shop.v1.Orders/Get
ask -w '\n%{http_code}, expected 401: no token\n' URL/shop.v1.Orders/Get
ask -w '\n%{http_code}, expected 403: without the scope orders:write\n' -H "Authorization: Bearer $READER" URL/shop.v1.Orders/Cancel
ask -w '\n%{http_code}, expected 200: with it\n' -H "Authorization: Bearer $WRITER" URL/shop.v1.Orders/Cancel
follow() { printf '\0\0\0\0\004"42"' | curl -s -H 'Content-Type: application/connect+json' --data-binary @- "$@" | tr -d '\000-\011'; }
follow -w '\n%{http_code}, expected 200: a stream\n' -H "Authorization: Bearer $READER" URL/shop.v1.Orders/Follow
follow -w '\n%{http_code}, expected 200: a stream with an error at its end\n' URL/shop.v1.Orders/Follow
grpcweb() { curl -s -D - -H 'Content-Type: application/grpc-web' -X POST "$@" | sed -n 's/^grpc-status: \([0-9]*\).*/\1/Ip'; }
echo "$(grpcweb URL/shop.v1.Orders/Get), expected 16: Unauthenticated in gRPC-Web"
`)
}
