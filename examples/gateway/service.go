package main

import (
	"context"
	"encoding/json"
	"log"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// scope is what every call of the service needs.
const scope = "health:read"

// identityKey is one key for all, so that no part of an identity can come from
// elsewhere. Only a key that ends in -bin takes values beyond printable ASCII.
const identityKey = "identity-bin"

// identity is who calls, as the gateway has verified it.
type identity struct {
	Issuer  string   `json:"iss"`
	Subject string   `json:"sub"`
	Scopes  []string `json:"scopes"`
}

func (id identity) String() string {
	text, _ := json.Marshal(id) // strings always marshal
	return string(text)
}

func (id identity) metadata() metadata.MD { return metadata.Pairs(identityKey, id.String()) }

// identityOf refuses calls without an identity, or with more than one: then
// somebody else has a say in the metadata.
func identityOf(ctx context.Context) (id identity, err error) {
	values := metadata.ValueFromIncomingContext(ctx, identityKey)
	if len(values) != 1 || json.Unmarshal([]byte(values[0]), &id) != nil || id.Subject == "" {
		return identity{}, status.Error(codes.Unauthenticated, "no verified identity")
	}
	return id, nil
}

func admit(ctx context.Context, method string) error {
	id, err := identityOf(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(id.Scopes, scope) {
		return status.Error(codes.PermissionDenied, "the scope "+scope+" is missing")
	}
	log.Printf("%s for %q", method, id.Subject)
	return nil
}

// newService guards all methods. Streams have an interceptor of their own:
// without it they would be open.
func newService(service grpc_health_v1.HealthServer) *grpc.Server {
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := admit(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return next(ctx, request)
		}),
		grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := admit(stream.Context(), info.FullMethod); err != nil {
				return err
			}
			return next(service, stream)
		}),
	)
	grpc_health_v1.RegisterHealthServer(server, service)
	return server
}
