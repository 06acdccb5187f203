// Gateway is a gRPC service with a REST front (grpc-gateway). The front verifies
// the token; the service gets the verified identity, and refuses calls without.
//
//	go run -C examples ./gateway
//
// The service is gRPC's own health service, so that there is nothing to
// generate. gateway.go is the front, service.go what stands behind it.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

const (
	issuer   = "https://login.example"
	audience = "https://api.example"
)

// Claims are what a token says beside who its user is.
type Claims struct {
	jwt.RegisteredClaims
	Scope string `json:"scope,omitempty"`
}

func newAuth(secret []byte) (*jwthttp.Middleware, error) {
	return jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       issuer,
		Audience:   []string{audience},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret),
	}}})
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

// dial connects to a service in the same program: nobody else reaches a bufconn.
// A service on a port believes an identity from whoever reaches that port. It
// needs mutual TLS there, and must admit no client but the gateway.
func dial(listener *bufconn.Listener) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:service",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
}

func main() {
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		secret := make([]byte, sha256.Size) // HS256 needs no fewer bytes than its hash has
		_, _ = rand.Read(secret)            // it never fails
		auth, err := newAuth(secret)
		if err != nil {
			return nil, "", err
		}
		listener := bufconn.Listen(64 << 10)
		go newService(health.NewServer()).Serve(listener) // until the program ends: requests under way still call
		conn, err := dial(listener)
		if err != nil {
			return nil, "", err
		}
		gateway, err := newGateway(auth, conn)
		if err != nil {
			return nil, "", err
		}
		reader, errReader := sign(secret, scope)
		other, errOther := sign(secret, "")
		return gateway, greeting(url, reader, other), errors.Join(errReader, errOther)
	})
}

// greeting has lines to paste into a shell. Both tokens are alice's.
func greeting(url, reader, other string) string {
	claimed := base64.StdEncoding.EncodeToString([]byte(identity{issuer, "root", []string{scope}}.String()))
	return strings.NewReplacer("URL", url, "$1", reader, "$2", other, "$3", claimed).Replace(`REST in front of gRPC. Paste this into a shell:

READER=$1
OTHER=$2
CLAIM='Grpc-Metadata-Identity-Bin: $3'
curl -s -w '%{http_code}, expected 401: no token\n' URL/v1/health/
curl -s -w '%{http_code}, expected 200: the service knows alice, and her scope\n' -H "Authorization: Bearer $READER" URL/v1/health/
curl -s -w '%{http_code}, expected 404: a status of gRPC\n' -H "Authorization: Bearer $READER" URL/v1/health/nothing
curl -s -w '%{http_code}, expected 403: the service wants the scope\n' -H "Authorization: Bearer $OTHER" URL/v1/health/
curl -s -w '%{http_code}, expected 403: an identity that the client claims stays outside\n' -H "$CLAIM" -H "Authorization: Bearer $OTHER" URL/v1/health/
curl -s -w '%{http_code}, expected 401: and replaces no token\n' -H "$CLAIM" URL/v1/health/
`)
}
