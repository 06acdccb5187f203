package main

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/grpcjwt"
)

// scope is required for every call of the service.
const scope = "health:read"

// newService returns a server that verifies the token of each call. It does not
// trust the gateway, so a call that bypasses it needs a token as well.
func newService(auth *jwthttp.Middleware, service grpc_health_v1.HealthServer) (*grpc.Server, error) {
	calls, err := grpcjwt.New(grpcjwt.Options{
		Methods: map[string]*jwthttp.Middleware{"/grpc.health.v1.Health/*": auth.RequireScopes(scope)},
	})
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(calls.Unary()), grpc.StreamInterceptor(calls.Stream()))
	grpc_health_v1.RegisterHealthServer(server, service)
	return server, calls.Check(server)
}
