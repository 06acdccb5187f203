package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// A stream of events ends when its token does.
func ExampleMiddleware_Watch() {
	var revoked revocation.List
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{exampleIssuer()},
		Revoked: revoked.Revoked,
	})
	if err != nil {
		panic(err)
	}
	site := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := auth.Watch(r.Context(), time.Millisecond) // some seconds in a real program
		defer cancel()
		fmt.Fprintln(w, "event: hello")
		if token, ok := jwthttp.TokenFromContext(ctx); ok { // a logout elsewhere
			_ = revoked.RevokeToken(ctx, token)
		}
		<-ctx.Done()
		var refused *jwthttp.Error
		if errors.As(context.Cause(ctx), &refused) {
			fmt.Fprintln(w, "event: end, data:", refused.Reason)
		}
	}))
	ask(site, "GET", "/events", "Bearer "+issueToken("alice", nil))

	// Output:
	// GET /events 200 event: hello
	// event: end, data: revoked
}

// A browser cannot set header fields of a WebSocket, so the client sends the
// token as its first message. Then Watch ends the connection with the token.
func ExampleMiddleware_Verify() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	chat := auth.RequireScopes("chat")
	connection := func(ctx context.Context, messages ...string) { // of a WebSocket library
		ctx, err := chat.Verify(ctx, messages[0])
		if err != nil {
			fmt.Println("close 1008:", err)
			return
		}
		ctx, cancel := chat.Watch(ctx, 10*time.Second)
		defer cancel()
		for _, message := range messages[1:] {
			if ctx.Err() != nil {
				fmt.Println("close 1008:", context.Cause(ctx))
				return
			}
			fmt.Println(jwthttp.MustClaims[jwt.MapClaims](ctx)["sub"], "says", message)
		}
	}
	connection(context.Background(), issueToken("alice", jwt.MapClaims{"scope": "chat"}), "hello", "goodbye")
	connection(context.Background(), issueToken("bob", nil), "hello")
	connection(context.Background(), "hello")

	// Output:
	// alice says hello
	// alice says goodbye
	// close 1008: jwthttp: scope: have scopes none, want "chat"
	// close 1008: jwthttp: malformed: not three base64url segments
}
