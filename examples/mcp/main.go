// MCP is a server of tools for language models over the streamable HTTP of the
// Model Context Protocol. It requires a token. Package jwthttp verifies the
// token, and the official SDK ties each session to the user of the token. A
// client that knows only the URL finds the authorization server through the 401
// (RFC 9728, RFC 8414), registers, and gets a token for this resource (RFC 8707).
//
//	go run -C examples ./mcp
//	go run -C examples ./mcp -client http://127.0.0.1:8080/mcp
//
// The first line starts the server, and the second one a client. No other flag
// may be used with -client. This file is the one to copy from. authserver.go is a
// stand-in for your authorization server. client.mjs is a client with the SDK for
// TypeScript, which does not get another scope while it has a refresh token. For
// clients that use it and have one, such as the MCP Inspector, start the server with
// -all-scopes.
//
//	go run -C examples ./mcp -dpop
//
// This server binds tokens to the key of the client, and each request needs a proof
// (RFC 9449). The SDKs do not make proofs. An http.RoundTripper in dpop_test.go makes
// them for the SDK for Go.
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
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/protectedresource"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "-client" {
		if err := runClient(context.Background(), os.Args[2], http.DefaultClient, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	origin := flag.String("allow-origin", "", "one other `origin` whose pages may call, such as http://localhost:6274 (default: none)")
	all := flag.Bool("all-scopes", false, "grant a client all scopes at first, even if it asks for fewer")
	dpop := flag.Bool("dpop", false, "bind tokens to the key of the client, and require DPoP proofs")
	server.Main(func(ctx context.Context, url string) (http.Handler, string, error) {
		issuer, err := startAuthServer(ctx, url+"/mcp", *all, *dpop)
		if err != nil {
			return nil, "", err
		}
		handler, err := newResource(ctx, url+"/mcp", issuer, *origin, 30*time.Second, *dpop, newTools())
		text := greeting
		if *dpop {
			text = greetingDPoP
		}
		return handler, strings.NewReplacer("URL", url, "ISSUER", issuer).Replace(text), err
	})
}

// claims are the claims of a token that tools need.
type claims struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
}

// Validate is called by jwthttp for each request. All tokens without a subject
// would share one user, and therefore their sessions.
func (c claims) Validate() error {
	if c.Subject == "" {
		return errors.New("sub is missing")
	}
	return nil
}

// newResource serves tools at the URL resource to clients with a token of issuer.
// The leeway is the clock skew allowed for the issuer. With dpop, each request needs
// a proof by the key of its token (RFC 9449).
func newResource(ctx context.Context, resource, issuer, origin string, leeway time.Duration, dpop bool, tools *mcp.Server) (http.Handler, error) {
	var proofs *jwthttp.DPoP
	m := protectedresource.Metadata{
		Resource:               resource,
		AuthorizationServers:   []string{issuer},
		ScopesSupported:        []string{scopeUse}, // enough to begin with; a 403 asks for more
		BearerMethodsSupported: []string{"header"},
		ResourceName:           "Orders",
	}
	if dpop {
		proofs = &jwthttp.DPoP{BaseURLs: []string{strings.TrimSuffix(resource, "/mcp")}, Algorithms: []string{"ES256"}, Required: true}
		m.DPoPSigningAlgValuesSupported, m.DPoPBoundAccessTokensRequired = proofs.Algorithms, true
	}
	metadata, err := protectedresource.New(m)
	if err != nil {
		return nil, err
	}
	auth, err := newMiddleware(ctx, resource, issuer, metadata.URL(), leeway, proofs)
	if err != nil {
		return nil, err
	}

	// From the inside out. The SDK refuses other Host names on loopback (DNS
	// rebinding), and requests of another user in a session.
	var handler http.Handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools },
		&mcp.StreamableHTTPOptions{SessionTimeout: 30 * time.Minute}) // without it, sessions are kept forever
	handler = endStreams(auth, leeway, handler)
	// ClockSkew must equal Options.Leeway, and unlike that its zero value means
	// none. jwthttp checks the scopes, because the 403 of the SDK does not say
	// insufficient_scope.
	handler = mcpauth.RequireBearerToken(tokenInfo, &mcpauth.RequireBearerTokenOptions{
		ResourceMetadataURL: metadata.URL(), ClockSkew: leeway,
	})(handler)
	handler = auth.Require(stepUp).Handler(asBearer(handler))

	handler, err = forPages(origin, handler)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(metadata.Path(), metadata)
	mux.Handle("/mcp", handler)
	return mux, nil
}

// newMiddleware returns the Middleware that verifies the tokens of issuer for
// resource, and requires the scope to use it.
func newMiddleware(ctx context.Context, resource, issuer, metadataURL string, leeway time.Duration, proofs *jwthttp.DPoP) (*jwthttp.Middleware, error) {
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{resource},
			Algorithms: []string{"ES256"},
			Types:      []string{"at+jwt"}, // no ID tokens
			Keys:       keys,
		}},
		DPoP:                proofs,
		Leeway:              leeway,
		ResourceMetadataURL: metadataURL, // in the 401, where discovery begins
	})
	if err != nil {
		return nil, err
	}
	return auth.RequireScopes(scopeUse), nil
}

// forPages lets pages of one other origin call next, or of none if origin is
// empty. The MCP specification requires a check of Origin. CORS is the outermost
// handler, so that pages can read refusals, too. It does not allow cookies.
func forPages(origin string, next http.Handler) (http.Handler, error) {
	sameOrigin := http.NewCrossOriginProtection()
	if origin != "" {
		if err := sameOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return cors.New(cors.Options{
		AllowOriginFunc: func(o string) bool { return o == origin }, // an empty AllowedOrigins would allow all
		AllowedMethods:  []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowedHeaders:  []string{"*"},
		ExposedHeaders:  []string{"Mcp-Session-Id", "WWW-Authenticate"},
	}).Handler(sameOrigin.Handler(next)), nil
}

// asBearer hides the scheme DPoP from the SDK, which knows only Bearer. jwthttp has
// verified the proof.
func asBearer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := jwthttp.TokenFromContext(r.Context()); ok {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+token.Raw())
		}
		next.ServeHTTP(w, r)
	})
}

// tokenInfo tells the SDK which user jwthttp has authenticated. It does not verify
// the token again. If the SDK's middleware is not inside jwthttp's, every request
// is refused with 500. An error of the SDK would be a 401, which sends clients
// for a new token.
func tokenInfo(ctx context.Context, raw string, _ *http.Request) (*mcpauth.TokenInfo, error) {
	token, ok := jwthttp.TokenFromContext(ctx)
	who, known := jwthttp.ClaimsFromContext[claims](ctx)
	if !ok || !known || token.Raw() == "" || token.Raw() != raw {
		return nil, errors.New("no token that jwthttp has verified")
	}
	return &mcpauth.TokenInfo{
		UserID:     token.Issuer + " " + token.Subject, // subjects are unique per issuer only
		Scopes:     token.Scopes,
		Expiration: token.ExpiresAt,
		Extra:      map[string]any{"claims": who},
	}, nil
}

// endStreams ends a session's event stream (a GET) when the token that opened it
// is no longer valid. The session continues. Its next stream or call needs another
// token of the same user, which the SDK's client gets with its refresh token.
// Without a refresh token, its session fails.
//
// A call (a POST) is not watched. The server's WriteTimeout of 10 seconds ends a
// tool that takes longer; set another deadline for it here.
func endStreams(auth *jwthttp.Middleware, leeway time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := jwthttp.TokenFromContext(r.Context()); ok && r.Method == http.MethodGet {
			// This replaces the server's WriteTimeout, which is for short requests.
			_ = http.NewResponseController(w).SetWriteDeadline(token.ExpiresAt.Add(leeway + 5*time.Second))
			ctx, stop := auth.Watch(r.Context(), 10*time.Second)
			defer stop()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}
