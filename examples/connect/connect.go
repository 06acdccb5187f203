package main

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/seed450a7203/jwthttp"
)

// newAPI returns the procedures, each with the scope that it needs. All paths need a
// token. Procedures without a token, such as those of health checks, go into a mux
// around this one.
func newAPI(opts jwthttp.Options, service *orders) (http.Handler, error) {
	opts.ErrorHandler = errorHandler()
	auth, err := jwthttp.New[Claims](opts)
	if err != nil {
		return nil, err
	}
	path, handler := newOrdersHandler(service, connect.WithInterceptors(untilTokenEnds{auth}))
	mux := http.NewServeMux()
	mux.Handle(path, auth.RequireScopes("orders:read").Handler(handler))
	mux.Handle(cancelProcedure, auth.RequireScopes("orders:write").Handler(handler))
	return auth.Handler(mux), nil
}

// errorHandler returns an ErrorHandler that answers in the protocol of the client:
// Connect, gRPC-Web or gRPC. In each of them, the challenge is a header field.
func errorHandler() func(http.ResponseWriter, *http.Request, *jwthttp.Error) {
	writer := connect.NewErrorWriter()
	return func(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
		if !writer.IsSupported(r) {
			jwthttp.WriteError(w, e)
			return
		}
		_ = writer.Write(w, r, refusal(e)) // it fails if the client is gone
	}
}

// refusal returns an Error as one of Connect.
func refusal(e *jwthttp.Error) *connect.Error {
	code := connect.CodeInternal
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized:
		code = connect.CodeUnauthenticated
	case http.StatusForbidden:
		code = connect.CodePermissionDenied
	case http.StatusServiceUnavailable:
		code = connect.CodeUnavailable
	}
	return connect.NewError(code, errors.New(string(e.Reason)))
}

// untilTokenEnds is an interceptor that ends the context of a stream with its token.
// A handler that waits for a message of the client has to watch its context as well.
type untilTokenEnds struct{ auth *jwthttp.Middleware }

func (u untilTokenEnds) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		watched, stop := u.auth.Watch(ctx, 0)
		defer stop()
		err := next(watched, conn)
		var e *jwthttp.Error
		if errors.As(context.Cause(watched), &e) {
			return refusal(e)
		}
		return err
	}
}

func (untilTokenEnds) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

func (untilTokenEnds) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}
