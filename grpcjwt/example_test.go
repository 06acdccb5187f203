package grpcjwt_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/grpcjwt"
)

// Claims are the claims that handlers use.
type Claims struct {
	Subject string `json:"sub"`
}

// newServer returns a server with a generated service, whose methods need
// different scopes, and the health service, which needs no token.
func newServer(auth *jwthttp.Middleware) (*grpc.Server, error) {
	calls, err := grpcjwt.New(grpcjwt.Options{
		Methods: map[string]*jwthttp.Middleware{
			"/grpc.testing.TestService/*":         auth.RequireScopes("read"),
			"/grpc.testing.TestService/EmptyCall": auth.RequireScopes("write"),
		},
		Public: []string{"/grpc.health.v1.Health/*"},
	})
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(calls.Unary()), grpc.StreamInterceptor(calls.Stream()))
	testpb.RegisterTestServiceServer(server, greeter{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server, calls.Check(server) // an error if a method is in neither list
}

type greeter struct {
	testpb.UnimplementedTestServiceServer
}

func (greeter) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	claims := jwthttp.MustClaims[Claims](ctx)
	return &testpb.SimpleResponse{Username: claims.Subject}, nil
}

func Example() {
	secret := []byte("0123456789abcdef0123456789abcdef")
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       "https://login.example",
		Audience:   []string{"https://api.example"},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret),
	}}})
	if err != nil {
		log.Fatal(err)
	}
	server, err := newServer(auth)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(listener)
	defer server.Stop()

	// A client whose token has the scope read.
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://login.example", "aud": "https://api.example", "sub": "alice", "scope": "read",
		"exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString(secret)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	client := testpb.NewTestServiceClient(conn)
	anonymous := context.Background()
	alice := metadata.AppendToOutgoingContext(anonymous, "authorization", "Bearer "+token)

	reply, err := client.UnaryCall(alice, new(testpb.SimpleRequest))
	fmt.Println(reply.GetUsername(), err)
	var header metadata.MD
	_, err = client.UnaryCall(anonymous, new(testpb.SimpleRequest), grpc.Header(&header))
	fmt.Println(status.Code(err), header["www-authenticate"])
	_, err = client.EmptyCall(alice, new(testpb.Empty))
	fmt.Println(err)
	healthy, err := healthpb.NewHealthClient(conn).Check(anonymous, new(healthpb.HealthCheckRequest))
	fmt.Println(healthy.GetStatus(), err)
	// Output:
	// alice <nil>
	// Unauthenticated [Bearer realm="restricted", scope="read"]
	// rpc error: code = PermissionDenied desc = insufficient scope
	// SERVING <nil>
}
