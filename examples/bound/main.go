// Bound is an authorization server, a resource and a page with tokens that are
// bound to a key (DPoP, RFC 9449). A stolen token is of no use without the key.
//
//	go run -C examples ./bound
//
// It prints its address. The page at the address makes a key that cannot be
// exported, signs in, and shows what the resource answers to a thief. The users
// are made up. The key that signs the tokens is new at each start.
package main

import (
	"context"
	"net/http"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

func main() {
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		handler, err := newSite(url, demo.NewUsers())
		return handler, greeting, err
	})
}

const greeting = `Open the address in a browser. A client in Go is in bound_test.go:

POST /token      username, password and a DPoP proof; the answer has a token for the proof's key
GET  /resource   Authorization: DPoP <token>, and a DPoP proof with the nonce of the last answer
`
