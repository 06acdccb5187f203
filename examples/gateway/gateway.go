package main

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/seed450a7203/jwthttp"
)

// newGateway returns a REST front for the service behind conn. The service
// checks the scopes. RequireScopes could check them here as well, with a
// challenge.
func newGateway(auth *jwthttp.Middleware, conn grpc.ClientConnInterface) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD {
			token, ok := jwthttp.TokenFromContext(ctx)
			if !ok { // the service refuses a call without an identity
				return nil
			}
			return identity{token.Issuer, token.Subject, token.Scopes}.metadata()
		}),
		// Without this matcher, a client's Grpc-Metadata-Identity-Bin field
		// would become metadata and come before ours. Name the fields that may
		// pass here.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		// This also disables X-HTTP-Method-Override, so that the method that
		// was checked is the one that is called.
		runtime.WithDisablePathLengthFallback(),
	)
	client := grpc_health_v1.NewHealthClient(conn)
	const pattern = "/v1/health/{service}"
	err := mux.HandlePath(http.MethodGet, pattern, func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		_, marshaler := runtime.MarshalerForRequest(mux, r)
		ctx, err := runtime.AnnotateContext(r.Context(), mux, r, grpc_health_v1.Health_Check_FullMethodName, runtime.WithHTTPPathPattern(pattern))
		if err != nil {
			runtime.HTTPError(r.Context(), mux, marshaler, w, r, err)
			return
		}
		var md runtime.ServerMetadata
		reply, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: params["service"]}, grpc.Header(&md.HeaderMD), grpc.Trailer(&md.TrailerMD))
		ctx = runtime.NewServerMetadataContext(ctx, md)
		if err != nil {
			runtime.HTTPError(ctx, mux, marshaler, w, r, err)
			return
		}
		runtime.ForwardResponseMessage(ctx, mux, marshaler, w, r, reply)
	})
	return auth.Handler(withoutToken(mux)), err
}

// withoutToken removes the token, which the gateway would pass on as
// authorization metadata regardless of the header matcher. Leave withoutToken
// out if the service verifies the token itself.
func withoutToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner := r.WithContext(r.Context())
		inner.Header = r.Header.Clone()
		inner.Header.Del("Authorization")
		next.ServeHTTP(w, inner)
	})
}
