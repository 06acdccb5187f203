// MCP is a server of tools for language models, over the Model Context
// Protocol's streamable HTTP, that wants a token: jwthttp verifies it, and the
// official SDK's guard ties each session to the user it names. A client that
// knows nothing but the URL finds the authorization server through the 401
// (RFC 9728, RFC 8414), registers, and gets a token for this resource and no
// other (RFC 8707).
//
//	go run -C examples ./mcp
//	go run -C examples ./mcp -client http://127.0.0.1:8080/mcp
//
// The first line starts the server, the second one a client of it: -client and
// the URL stand alone, without other flags. What to copy is in this file;
// authserver.go stands for the authorization server that you have.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	mcpauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rs/cors"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "-client" {
		if err := runClient(context.Background(), os.Args[2], os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	origin := flag.String("allow-origin", "", "one other `origin` whose pages may call, such as http://localhost:6274 (default: none)")
	server.Main(func(ctx context.Context, url string) (http.Handler, string, error) {
		issuer, err := startAuthServer(ctx, url+"/mcp")
		if err != nil {
			return nil, "", err
		}
		handler, err := newResource(ctx, url+"/mcp", issuer, *origin, newTools())
		return handler, strings.NewReplacer("URL", url, "ISSUER", issuer).Replace(greeting), err
	})
}

// claims are what a tool learns of a token.
type claims struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
}

// Validate is called by jwthttp for each request. Tokens without a subject
// would all be of one user, and so would their sessions.
func (c claims) Validate() error {
	if c.Subject == "" {
		return errors.New("sub is missing")
	}
	return nil
}

// newResource protects tools, at the URL resource, by the tokens of issuer.
func newResource(ctx context.Context, resource, issuer, origin string, tools *mcp.Server) (http.Handler, error) {
	metadata := jwthttp.ResourceMetadata{
		Resource:               resource,
		AuthorizationServers:   []string{issuer},
		ScopesSupported:        []string{scopeUse}, // what to begin with; a 403 asks for more
		BearerMethodsSupported: []string{"header"},
		ResourceName:           "Orders",
	}
	keys, err := jwthttp.DiscoverJWKS(ctx, issuer, jwthttp.JWKSOptions{})
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{metadata.Resource},
			Algorithms: []string{"ES256"},
			Types:      []string{"at+jwt"}, // no ID token
			Keys:       keys,
		}},
		ResourceMetadataURL: metadata.URL(), // in the 401, where discovery begins
	})
	if err != nil {
		return nil, err
	}
	auth = auth.RequireScopes(scopeUse)

	// From the inside out. The SDK refuses other Host names on loopback (DNS
	// rebinding), and a session's requests that are of another user.
	var handler http.Handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools },
		&mcp.StreamableHTTPOptions{SessionTimeout: 30 * time.Minute}) // without it, sessions are kept for good
	handler = endStreams(auth, handler)
	// With an Options.Leeway, ClockSkew must be as long. The scopes are not
	// for this guard, whose 403 says no insufficient_scope.
	handler = mcpauth.RequireBearerToken(tokenInfo, &mcpauth.RequireBearerTokenOptions{ResourceMetadataURL: metadata.URL()})(handler)
	handler = auth.Require(stepUp).Handler(handler)

	handler, err = forPages(origin, handler)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(metadata.Path(), metadata.Handler())
	mux.Handle("/mcp", handler)
	return mux, nil
}

// forPages lets pages of one other origin call, or of none. MCP wants Origin
// checked. CORS is outside of everything, for a page to read refusals too; and
// nothing in it allows cookies.
func forPages(origin string, next http.Handler) (http.Handler, error) {
	sameOrigin := http.NewCrossOriginProtection()
	if origin != "" {
		if err := sameOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return cors.New(cors.Options{
		AllowOriginFunc: func(o string) bool { return o == origin }, // an empty AllowedOrigins would be all of them
		AllowedMethods:  []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowedHeaders:  []string{"*"},
		ExposedHeaders:  []string{"Mcp-Session-Id", "WWW-Authenticate"},
	}).Handler(sameOrigin.Handler(next)), nil
}

// tokenInfo tells the SDK whom jwthttp has authenticated, and verifies nothing
// again. If the two are wired the wrong way round, nobody gets in; the error is
// none of the SDK's, so that this is a 500 and sends no client for a new token.
func tokenInfo(ctx context.Context, raw string, _ *http.Request) (*mcpauth.TokenInfo, error) {
	token, ok := jwthttp.TokenFromContext(ctx)
	who, known := jwthttp.ClaimsFromContext[claims](ctx)
	if !ok || !known || token.Raw() == "" || token.Raw() != raw {
		return nil, errors.New("no token that jwthttp has verified")
	}
	return &mcpauth.TokenInfo{
		UserID:     token.Issuer + " " + token.Subject, // a subject alone is one issuer's only
		Scopes:     token.Scopes,
		Expiration: token.ExpiresAt,
		Extra:      map[string]any{"claims": who},
	}, nil
}

// endStreams ends a session's stream of events (a GET) with the token that it
// was opened with. The session goes on: its next stream or call needs another
// token of the same user. The SDK's client brings one if it has a refresh token;
// without, its session fails.
//
// A call (a POST) is not watched, and keeps the server's WriteTimeout of 10
// seconds, which cuts a tool that takes longer: set another deadline for it here.
func endStreams(auth *jwthttp.Middleware, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := jwthttp.TokenFromContext(r.Context()); ok && r.Method == http.MethodGet {
			// In place of the server's WriteTimeout, which is for short requests.
			_ = http.NewResponseController(w).SetWriteDeadline(token.ExpiresAt.Add(5 * time.Second))
			r = r.WithContext(auth.Watch(r.Context(), 10*time.Second))
		}
		next.ServeHTTP(w, r)
	})
}
