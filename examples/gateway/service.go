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

// scope is required for every call of the service.
const scope = "health:read"

// identityKey holds the whole identity, so that no part of it can come from
// another source. Only keys that end in -bin allow values beyond printable
// ASCII.
const identityKey = "identity-bin"

// identity is the caller as verified by the gateway.
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

// identityOf returns the identity of a call. A call without an identity is
// refused. So is one with several, because then metadata has come from a source
// other than the gateway.
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
		return status.Error(codes.PermissionDenied, "scope "+scope+" is required")
	}
	log.Printf("%s for %q", method, id.Subject)
	return nil
}

// newService protects all methods. Streams need the second interceptor; without
// it they would be open to everyone.
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
