package protectedresource_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/protectedresource"
)

type metadata = protectedresource.Metadata

func mustNew(t *testing.T, m metadata) *protectedresource.Resource {
	t.Helper()
	r, err := protectedresource.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// RFC 9728 §3.1.
func TestResource_URL(t *testing.T) {
	for _, tt := range []struct{ resource, path, url string }{
		{"https://api.example", "/.well-known/oauth-protected-resource", "https://api.example/.well-known/oauth-protected-resource"},
		{"https://api.example/", "/.well-known/oauth-protected-resource", "https://api.example/.well-known/oauth-protected-resource"},
		{"https://api.example/mcp", "/.well-known/oauth-protected-resource/mcp", "https://api.example/.well-known/oauth-protected-resource/mcp"},
		{"https://api.example:8443/a/b", "/.well-known/oauth-protected-resource/a/b", "https://api.example:8443/.well-known/oauth-protected-resource/a/b"},
		{"https://api.example/a/", "/.well-known/oauth-protected-resource/a/", "https://api.example/.well-known/oauth-protected-resource/a/"},
		{"https://api.example/a%2Fb", "/.well-known/oauth-protected-resource/a%2Fb", "https://api.example/.well-known/oauth-protected-resource/a%2Fb"},
		{"https://API.example/A", "/.well-known/oauth-protected-resource/A", "https://API.example/.well-known/oauth-protected-resource/A"},
		{"https://api.example/a?b=c&d", "/.well-known/oauth-protected-resource/a", "https://api.example/.well-known/oauth-protected-resource/a?b=c&d"},
		{"https://api.example?b=c", "/.well-known/oauth-protected-resource", "https://api.example/.well-known/oauth-protected-resource?b=c"},
		{"https://api.example/?b=/c", "/.well-known/oauth-protected-resource", "https://api.example/.well-known/oauth-protected-resource?b=/c"},
		{"https://api.example/%C3%A4", "/.well-known/oauth-protected-resource/%C3%A4", "https://api.example/.well-known/oauth-protected-resource/%C3%A4"},
		{"https://api.example/@acme", "/.well-known/oauth-protected-resource/@acme", "https://api.example/.well-known/oauth-protected-resource/@acme"},
		{"http://127.0.0.1:8080/mcp", "/.well-known/oauth-protected-resource/mcp", "http://127.0.0.1:8080/.well-known/oauth-protected-resource/mcp"},
		{"http://[::1]:8080/mcp", "/.well-known/oauth-protected-resource/mcp", "http://[::1]:8080/.well-known/oauth-protected-resource/mcp"},
	} {
		t.Run(tt.resource, func(t *testing.T) {
			resource := mustNew(t, metadata{Resource: tt.resource})
			if resource.Path() != tt.path || resource.URL() != tt.url {
				t.Errorf("path %q, URL %q; want %q, %q", resource.Path(), resource.URL(), tt.path, tt.url)
			}
			// Options accepts the URL, and a router the path.
			issuer := jwthttp.Issuer{Name: "https://login.example", Audience: []string{tt.resource}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(make([]byte, 32))}
			if _, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer}, ResourceMetadataURL: resource.URL()}); err != nil {
				t.Error(err)
			}
			mux := http.NewServeMux()
			mux.Handle(resource.Path(), resource)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, resource.URL(), nil))
			var document struct{ Resource string }
			if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || document.Resource != tt.resource || w.Code != 200 {
				t.Errorf("%d %q (%v)", w.Code, w.Body, err)
			}
		})
	}
}

// RFC 9728 §2, §3.2.
func TestResource_document(t *testing.T) {
	all := metadata{
		Resource:                          "https://api.example/a?b=1&c=2",
		AuthorizationServers:              []string{"https://login.example", "https://login.example/tenant"},
		JWKSURI:                           "https://api.example/keys",
		ScopesSupported:                   []string{"orders:read", "orders:write"},
		BearerMethodsSupported:            []string{"header", "body", "query"},
		ResourceSigningAlgValuesSupported: []string{"ES256"},
		DPoPSigningAlgValuesSupported:     []string{"ES256", "Ed25519"},
		DPoPBoundAccessTokensRequired:     true,
		ResourceName:                      "Aufträge <1>",

		TLSClientCertificateBoundAccessTokens: true,

		ResourceDocumentation:              "https://api.example/docs",
		ResourcePolicyURI:                  "https://api.example/policy",
		ResourceTOSURI:                     "https://api.example/terms",
		AuthorizationDetailsTypesSupported: []string{"payment"},
	}
	for _, tt := range []struct {
		name string
		m    metadata
		want string
	}{
		{"every member", all, `{"resource":"https://api.example/a?b=1&c=2","authorization_servers":["https://login.example","https://login.example/tenant"],` +
			`"jwks_uri":"https://api.example/keys","scopes_supported":["orders:read","orders:write"],"bearer_methods_supported":["header","body","query"],` +
			`"resource_signing_alg_values_supported":["ES256"],"dpop_signing_alg_values_supported":["ES256","Ed25519"],"dpop_bound_access_tokens_required":true,` +
			`"tls_client_certificate_bound_access_tokens":true,"resource_name":"Aufträge <1>","resource_documentation":"https://api.example/docs",` +
			`"resource_policy_uri":"https://api.example/policy","resource_tos_uri":"https://api.example/terms","authorization_details_types_supported":["payment"]}` + "\n"},
		{"only the required member", metadata{Resource: "https://api.example"}, `{"resource":"https://api.example"}` + "\n"},
		{"empty lists are left out", metadata{Resource: "https://api.example", ScopesSupported: []string{}, AuthorizationServers: []string{}, BearerMethodsSupported: []string{}},
			`{"resource":"https://api.example"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			mustNew(t, tt.m).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/anywhere", nil))
			if diff := cmp.Diff(tt.want, w.Body.String()); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("later changes of Metadata have no effect", func(t *testing.T) {
		m := metadata{Resource: "https://api.example", ScopesSupported: []string{"a"}}
		resource := mustNew(t, m)
		m.ScopesSupported[0] = "changed"
		w := httptest.NewRecorder()
		resource.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if !strings.Contains(w.Body.String(), `["a"]`) {
			t.Errorf("document %q", w.Body)
		}
	})
}

type field struct{ name, value string }

func TestResource_ServeHTTP(t *testing.T) {
	server := httptest.NewServer(mustNew(t, metadata{Resource: "https://api.example"}))
	defer server.Close()
	for _, tt := range []struct {
		method string
		status int
		header []field // "" means absent
	}{
		{"GET", 200, []field{{"Content-Type", "application/json"}, {"Cache-Control", "public, max-age=3600"}, {"Access-Control-Allow-Origin", "*"}, {"X-Content-Type-Options", "nosniff"}, {"Access-Control-Allow-Credentials", ""}}},
		{"HEAD", 200, []field{{"Content-Type", "application/json"}, {"Cache-Control", "public, max-age=3600"}, {"Content-Length", "35"}}},
		{"OPTIONS", 204, []field{{"Access-Control-Allow-Origin", "*"}, {"Access-Control-Allow-Methods", "GET, HEAD"}, {"Access-Control-Allow-Headers", "*"}, {"Access-Control-Max-Age", "3600"}, {"Allow", "GET, HEAD, OPTIONS"}, {"Cache-Control", ""}}},
		{"POST", 405, []field{{"Allow", "GET, HEAD, OPTIONS"}, {"Cache-Control", ""}}},
		{"DELETE", 405, []field{{"Allow", "GET, HEAD, OPTIONS"}}},
	} {
		t.Run(tt.method, func(t *testing.T) {
			r, err := http.NewRequest(tt.method, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			for _, want := range tt.header {
				if got := resp.Header.Get(want.name); got != want.value {
					t.Errorf("%s: %q, want %q", want.name, got, want.value)
				}
			}
		})
	}
}

func TestNew_invalid(t *testing.T) {
	api := func(change func(*metadata)) metadata {
		m := metadata{Resource: "https://api.example"}
		change(&m)
		return m
	}
	for _, tt := range []struct {
		name string
		m    metadata
		want string
	}{
		{"no resource", metadata{}, "Resource"},
		{"a relative resource", metadata{Resource: "/mcp"}, "Resource"},
		{"plain http", metadata{Resource: "http://api.example"}, "Resource"},
		{"a fragment", metadata{Resource: "https://api.example/#x"}, "Resource"},
		{"an empty fragment", metadata{Resource: "https://api.example/#"}, "Resource"},
		{"a scheme in upper case", metadata{Resource: "HTTPS://api.example"}, "Resource"},
		{"a path that is not encoded", metadata{Resource: "https://api.example/{a}"}, "Resource"},
		{"a resource with letters that are not ASCII", metadata{Resource: "https://api.example/ä"}, "Resource"},
		{"a password", metadata{Resource: "https://u:hunter2@api.example"}, "Resource"},
		{"an empty authorization server", api(func(m *metadata) { m.AuthorizationServers = []string{""} }), "AuthorizationServers"},
		{"an authorization server's query", api(func(m *metadata) { m.AuthorizationServers = []string{"https://a.example?b"} }), "AuthorizationServers"},
		{"an authorization server's fragment", api(func(m *metadata) { m.AuthorizationServers = []string{"https://a.example#b"} }), "AuthorizationServers"},
		{"an authorization server's empty query", api(func(m *metadata) { m.AuthorizationServers = []string{"https://a.example?"} }), "AuthorizationServers"},
		{"a password in an odd place", metadata{Resource: "https:/u:hunter2@api.example/"}, "Resource"},
		{"a password without a scheme", metadata{Resource: "u:hunter2@api.example/x"}, "Resource"},
		{"a host that is encoded", metadata{Resource: "https://%C3%A4.example/a"}, "Resource"},
		{"a zone", metadata{Resource: "https://[fe80::1%25eth0]/x"}, "Resource"},
		{"a query with double quotes", metadata{Resource: `https://api.example/?x="y"`}, "Resource"},
		{"a JWKS over http", api(func(m *metadata) { m.JWKSURI = "http://api.example/keys" }), "JWKSURI"},
		{"a JWKS with a password", api(func(m *metadata) { m.JWKSURI = "https://u:hunter2@api.example/keys" }), "JWKSURI"},
		{"documentation with a password", api(func(m *metadata) { m.ResourceDocumentation = "ftp://u:hunter2@a.example" }), "ResourceDocumentation"},
		{"documentation with a user", api(func(m *metadata) { m.ResourceDocumentation = "https://u:hunter2@a.example" }), "ResourceDocumentation"},
		{"documentation that is not UTF-8", api(func(m *metadata) { m.ResourceDocumentation = "https://a.example/\xff" }), "ResourceDocumentation"},
		{"documentation with a blank", api(func(m *metadata) { m.ResourceDocumentation = "https://a.example/a b" }), "ResourceDocumentation"},
		{"an empty algorithm", api(func(m *metadata) { m.ResourceSigningAlgValuesSupported = []string{""} }), "ResourceSigningAlgValuesSupported"},
		{"the algorithm none, in lower case", api(func(m *metadata) { m.ResourceSigningAlgValuesSupported = []string{"none"} }), "ResourceSigningAlgValuesSupported"},
		{"a type that is not UTF-8", api(func(m *metadata) { m.AuthorizationDetailsTypesSupported = []string{"\xff"} }), "AuthorizationDetailsTypesSupported"},
		{"a JWKS without host", api(func(m *metadata) { m.JWKSURI = "https:///x" }), "JWKSURI"},
		{"a script for documentation", api(func(m *metadata) { m.ResourceDocumentation = "javascript:alert(1)" }), "ResourceDocumentation"},
		{"a policy that is a path", api(func(m *metadata) { m.ResourcePolicyURI = "/policy" }), "ResourcePolicyURI"},
		{"terms that do not parse", api(func(m *metadata) { m.ResourceTOSURI = "https://a%zz" }), "ResourceTOSURI"},
		{"two scopes in one", api(func(m *metadata) { m.ScopesSupported = []string{"a b"} }), "ScopesSupported"},
		{"an unknown bearer method", api(func(m *metadata) { m.BearerMethodsSupported = []string{"cookie"} }), "BearerMethodsSupported"},
		{"HMAC for proofs", api(func(m *metadata) { m.DPoPSigningAlgValuesSupported = []string{"HS256"} }), "DPoPSigningAlgValuesSupported"},
		{"an unknown algorithm for proofs", api(func(m *metadata) { m.DPoPSigningAlgValuesSupported = []string{"none"} }), "DPoPSigningAlgValuesSupported"},
		{"the algorithm none", api(func(m *metadata) { m.ResourceSigningAlgValuesSupported = []string{"None"} }), "ResourceSigningAlgValuesSupported"},
		{"an empty type", api(func(m *metadata) { m.AuthorizationDetailsTypesSupported = []string{""} }), "AuthorizationDetailsTypesSupported"},
		{"a name that is not UTF-8", api(func(m *metadata) { m.ResourceName = "\xff" }), "ResourceName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resource, err := protectedresource.New(tt.m)
			if err == nil || resource != nil {
				t.Fatalf("resource %v, error %v", resource, err)
			}
			if !strings.HasPrefix(err.Error(), "protectedresource: "+tt.want+": ") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q", err)
			}
		})
	}
	t.Run("all problems at once", func(t *testing.T) {
		_, err := protectedresource.New(metadata{JWKSURI: "x", ScopesSupported: []string{""}, ResourceTOSURI: "x", ResourceName: "\xff", AuthorizationServers: []string{"x"}})
		if err == nil {
			t.Fatal("no error")
		}
		for _, want := range []string{"Resource: ", "JWKSURI: ", "ScopesSupported: ", "ResourceTOSURI: ", "ResourceName: ", "AuthorizationServers: "} {
			if !strings.Contains(err.Error(), "protectedresource: "+want) {
				t.Errorf("error %q lacks %q", err, want)
			}
		}
	})
}
