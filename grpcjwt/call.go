package grpcjwt

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/seed450a7203/jwthttp"
)

// errNotNamed is the refusal of a method that is not named.
var errNotNamed = &jwthttp.Error{
	Status: http.StatusForbidden, Reason: jwthttp.ReasonForbidden,
	Err: errors.New("grpcjwt: neither Options.Methods nor Options.Public names the method"),
}

// Unary returns the interceptor of unary calls.
func (i *Interceptors) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, message any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		admitted, _, err := i.authenticate(ctx, info.FullMethod)
		if err != nil {
			a := answerTo(err)
			_ = grpc.SetHeader(ctx, a.metadata) // nothing has been sent
			return nil, a.status.Err()
		}
		return handler(admitted, message)
	}
}

// Stream returns the interceptor of streaming calls. A stream ends with its token: the
// context of the handler is canceled, its reads and writes return the refusal, and the
// client gets it. A message that a handler has begun to read or write at that moment is
// lost.
func (i *Interceptors) Stream() grpc.StreamServerInterceptor {
	return func(service any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, m, err := i.authenticate(ss.Context(), info.FullMethod)
		switch {
		case err != nil:
			return answerTo(err).end(ss)
		case m == nil:
			return handler(service, ss)
		}
		watched, cancel := m.Watch(ctx, i.recheck)
		defer cancel()
		s := &stream{ServerStream: ss, ctx: watched}
		err = handler(service, s)
		if refusal := s.ended(); refusal != nil && (err != nil || s.told.Load()) {
			return answerTo(refusal).end(ss)
		}
		return err
	}
}

// authenticate returns the context for the handler of a call. The Middleware is nil if
// the method is public.
func (i *Interceptors) authenticate(ctx context.Context, method string) (context.Context, *jwthttp.Middleware, error) {
	m, ok := i.find(method)
	if !ok {
		return nil, nil, errNotNamed
	}
	if m == nil {
		return ctx, nil, nil
	}
	r, err := m.Authenticate(request(ctx, method))
	if err != nil {
		return nil, nil, err
	}
	return r.Context(), m, nil
}

// request returns the HTTP request of a call. It has no body.
func request(ctx context.Context, method string) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: method}, RequestURI: method,
		Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: make(http.Header), Body: http.NoBody,
	}
	fields, _ := metadata.FromIncomingContext(ctx)
	for name, values := range fields {
		if name == ":authority" {
			r.Host = strings.Join(values, ",")
			continue
		}
		name = http.CanonicalHeaderKey(name)
		r.Header[name] = append(r.Header[name], values...)
	}
	if p, ok := peer.FromContext(ctx); ok {
		if p.Addr != nil {
			r.RemoteAddr = p.Addr.String()
		}
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			r.TLS = &info.State
		}
	}
	return r.WithContext(ctx)
}
