// Gateway is a gRPC service with a REST front (grpc-gateway). The front passes the
// token on, and the service verifies it with package grpcjwt. The front answers a
// refusal with its HTTP status and challenge.
//
//	go run -C examples ./gateway
//
// The service is gRPC's own health service, so no code has to be generated.
// gateway.go is the front, and service.go is the service.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log"
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

// Claims are the claims of a token.
type Claims struct {
	jwt.RegisteredClaims
	Scope string `json:"scope,omitempty"`
}

func newAuth(secret []byte) (*jwthttp.Middleware, error) {
	return jwthttp.New[Claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{audience},
			Algorithms: []string{"HS256"},
			Keys:       jwthttp.StaticKey(secret),
		}},
		Observer: func(_ context.Context, e jwthttp.Event) {
			if e.Admitted {
				log.Printf("%s for %q", e.Request.URL.Path, e.Token.Subject)
			}
		},
	})
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

// dial connects to a service in the same program.
func dial(listener *bufconn.Listener) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:service",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
}

func main() {
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		secret := make([]byte, sha256.Size) // HS256 needs at least as many bytes as its hash has
		_, _ = rand.Read(secret)            // never fails
		auth, err := newAuth(secret)
		if err != nil {
			return nil, "", err
		}
		service, err := newService(auth, health.NewServer())
		if err != nil {
			return nil, "", err
		}
		listener := bufconn.Listen(64 << 10)
		go service.Serve(listener) // until the program ends, because requests in progress still call it
		conn, err := dial(listener)
		if err != nil {
			return nil, "", err
		}
		gateway, err := newGateway(conn)
		reader, errReader := sign(secret, scope)
		other, errOther := sign(secret, "")
		return gateway, greeting(url, reader, other), errors.Join(err, errReader, errOther)
	})
}

// greeting has lines to paste into a shell. Both tokens are alice's.
func greeting(url, reader, other string) string {
	return strings.NewReplacer("URL", url, "$1", reader, "$2", other).Replace(`REST in front of gRPC. Paste this into a shell:

READER=$1
OTHER=$2
curl -s -w '%{http_code}, expected 200: alice has the scope\n' -H "Authorization: Bearer $READER" URL/v1/health/
curl -s -w '%{http_code}, expected 404: a status of the service\n' -H "Authorization: Bearer $READER" URL/v1/health/nothing
curl -s -w '%{http_code}, expected 401: no token\n' URL/v1/health/
curl -s -w '%{http_code}, expected 401: an altered token\n' -H "Authorization: Bearer ${READER}x" URL/v1/health/
curl -s -w '%{http_code}, expected 403: without the scope\n' -H "Authorization: Bearer $OTHER" URL/v1/health/
curl -s -w '%{http_code}, expected 401: other fields are not passed on\n' -H "Grpc-Metadata-Authorization: Bearer $READER" URL/v1/health/
`)
}
