package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed450a7203/jwthttp"
)

// The procedures, and their handler, as protoc-gen-connect-go would generate them.
// Requests and replies are a text, so that no code has to be generated.
const (
	getProcedure    = "/shop.v1.Orders/Get"
	cancelProcedure = "/shop.v1.Orders/Cancel"
	followProcedure = "/shop.v1.Orders/Follow"
)

type (
	request = connect.Request[wrapperspb.StringValue]
	reply   = connect.Response[wrapperspb.StringValue]
	stream  = connect.ServerStream[wrapperspb.StringValue]
)

func newOrdersHandler(service *orders, opts ...connect.HandlerOption) (path string, _ http.Handler) {
	get := connect.NewUnaryHandler(getProcedure, service.Get, opts...)
	cancel := connect.NewUnaryHandler(cancelProcedure, service.Cancel, opts...)
	follow := connect.NewServerStreamHandler(followProcedure, service.Follow, opts...)
	return "/shop.v1.Orders/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case getProcedure:
			get.ServeHTTP(w, r)
		case cancelProcedure:
			cancel.ServeHTTP(w, r)
		case followProcedure:
			follow.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// orders is the service.
type orders struct {
	pause time.Duration // between two messages of Follow
}

func (*orders) Get(ctx context.Context, r *request) (*reply, error) {
	return connect.NewResponse(text(ctx, r.Msg.GetValue(), "packed")), nil
}

func (*orders) Cancel(ctx context.Context, r *request) (*reply, error) {
	return connect.NewResponse(text(ctx, r.Msg.GetValue(), "canceled")), nil
}

// Follow sends what happens to an order, until it has arrived.
func (o *orders) Follow(ctx context.Context, r *request, s *stream) error {
	for _, state := range []string{"packed", "sent", "delivered"} {
		if err := s.Send(text(ctx, r.Msg.GetValue(), state)); err != nil {
			return err
		}
		select {
		case <-time.After(o.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func text(ctx context.Context, order, state string) *wrapperspb.StringValue {
	claims := jwthttp.MustClaims[Claims](ctx)
	return wrapperspb.String(fmt.Sprintf("order %s of %s is %s", order, claims.Subject, state))
}
