package main

import (
	"context"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// newGateway returns a REST front for the service behind conn. It does not look at
// the token: grpc-gateway sends the Authorization field as metadata, and the service
// decides. The connection must be encrypted if it leaves the machine.
//
// Tokens that are bound to a key are refused, because the service sees neither the
// client's certificate nor the URL that a DPoP proof is for.
func newGateway(conn grpc.ClientConnInterface) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithErrorHandler(refuse),
		// Clients set no other metadata. Name the fields that may pass here.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
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
	return mux, err
}

// refuse is the error handler of grpc-gateway, with the challenge of the service in
// WWW-Authenticate, and the delay of a 503 in Retry-After.
func refuse(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	md, _ := runtime.ServerMetadataFromContext(ctx)
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			w.Header().Set("Retry-After", strconv.FormatInt(retry.RetryDelay.GetSeconds(), 10))
		}
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, challenger{w, md.HeaderMD.Get("www-authenticate")}, r, err)
}

// challenger replaces the WWW-Authenticate field that grpc-gateway sends, which is
// the text of the error.
type challenger struct {
	http.ResponseWriter
	challenges []string
}

func (w challenger) WriteHeader(status int) {
	w.Header()["Www-Authenticate"] = w.challenges
	w.ResponseWriter.WriteHeader(status)
}
