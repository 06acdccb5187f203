package protectedresource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/protectedresource"
)

// A client that knows only the URL of the resource learns from the 401 where the
// metadata is, and from the metadata which servers issue tokens (RFC 9728).
func Example() {
	const name = "https://api.example/mcp"
	resource, err := protectedresource.New(protectedresource.Metadata{
		Resource:             name,
		AuthorizationServers: []string{"https://login.example"},
		ScopesSupported:      []string{"tools:call"},
	})
	if err != nil {
		panic(err)
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       "https://login.example",
			Audience:   []string{name}, // RFC 8707
			Algorithms: []string{"HS256"},
			Keys:       jwthttp.StaticKey([]byte("an example's secret of 32 bytes.")),
		}},
		ResourceMetadataURL: resource.URL(),
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", auth.Handler(http.NotFoundHandler()))
	mux.Handle(resource.Path(), resource)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("POST", "/mcp", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", resource.URL(), nil))
	fmt.Print(w.Code, " ", w.Body)

	// Output:
	// 401 Bearer realm="restricted", resource_metadata="https://api.example/.well-known/oauth-protected-resource/mcp"
	// 200 {"resource":"https://api.example/mcp","authorization_servers":["https://login.example"],"scopes_supported":["tools:call"]}
}
