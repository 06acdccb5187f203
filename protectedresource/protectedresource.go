// Package protectedresource serves the metadata that tells clients which
// authorization servers issue tokens for a resource (RFC 9728). The document
// belongs in three places:
//
//	resource, err := protectedresource.New(protectedresource.Metadata{
//		Resource:             "https://api.example/mcp",
//		AuthorizationServers: []string{"https://login.example"},
//	})
//	...
//	opts.ResourceMetadataURL = resource.URL()                      // 401 responses lead clients to it
//	opts.Issuers[0].Audience = []string{"https://api.example/mcp"} // RFC 8707
//	mux.Handle(resource.Path(), resource)                          // outside the middleware
package protectedresource

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/problems"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Metadata describes a protected resource (RFC 9728 §2). Empty members are left
// out of the document (RFC 9728 §3.2).
type Metadata struct {
	_ struct{}

	// Resource is the resource identifier: the URL of the resource as clients
	// spell it, since they compare it as text (RFC 9728 §3.3). Required. It must
	// be https, or http on loopback, without user and fragment.
	Resource string
	// AuthorizationServers are the issuer identifiers (RFC 8414) of the
	// authorization servers: https, or http on loopback.
	AuthorizationServers []string
	// JWKSURI is the URL of the resource's own keys, for signed responses:
	// https, or http on loopback. The keys that tokens are signed with belong to
	// the authorization server.
	JWKSURI string
	// ScopesSupported are scopes to ask for. The list may be incomplete: clients
	// learn of other scopes from an insufficient_scope error.
	ScopesSupported []string
	// BearerMethodsSupported says where a token may be: "header", "body" or
	// "query" (RFC 6750 §2). It does not affect what the middleware accepts. An
	// empty list does not say that there is no way; it is left out.
	BearerMethodsSupported []string
	// ResourceSigningAlgValuesSupported are the "alg" values of signed
	// responses, never "none".
	ResourceSigningAlgValuesSupported []string
	// DPoPSigningAlgValuesSupported are the "alg" values of DPoP proofs (RFC
	// 9449). Set it to the list of jwthttp.DPoP.Algorithms.
	DPoPSigningAlgValuesSupported []string
	// DPoPBoundAccessTokensRequired says that every token must be bound to a key
	// by DPoP. Do not set it where tokens may be bound to a certificate instead,
	// which jwthttp.DPoP.Required accepts, too.
	DPoPBoundAccessTokensRequired bool
	// TLSClientCertificateBoundAccessTokens says that tokens may be bound to the
	// client's certificate (RFC 8705).
	TLSClientCertificateBoundAccessTokens bool
	// ResourceName is the name of the resource, for people.
	ResourceName string
	// ResourceDocumentation is the URL of the documentation for developers.
	ResourceDocumentation string
	// ResourcePolicyURI is the URL of the policy for the use of the data.
	ResourcePolicyURI string
	// ResourceTOSURI is the URL of the terms of service.
	ResourceTOSURI string
	// AuthorizationDetailsTypesSupported are values of "type" in
	// authorization_details (RFC 9396).
	AuthorizationDetailsTypesSupported []string
}

// Resource serves the metadata of a protected resource. It is immutable and
// safe for concurrent use. The zero value is not usable; call [New].
type Resource struct {
	url, path string
	document  []byte
}

// wellKnown is inserted between the host and the path of a resource (RFC 9728 §3).
const wellKnown = "/.well-known/oauth-protected-resource"

// New returns a Resource for m. Later changes of m have no effect. If m is
// invalid, the returned error describes every problem, naming the member.
func New(m Metadata) (*Resource, error) {
	p := problems.List{Prefix: "protectedresource: "}
	u, err := syntax.ParsePublicURL(m.Resource)
	if err != nil {
		p.AddHidden("Resource", "%w", err)
	}
	m.checkURLs(&p)
	m.checkLists(&p)
	if !utf8.ValidString(m.ResourceName) {
		p.Add("ResourceName", m.ResourceName, "want UTF-8")
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	r := &Resource{path: wellKnown, document: m.document()}
	if u.Path != "/" { // RFC 9728 §3.1: a slash that is the whole path is left out
		r.path += u.EscapedPath()
	}
	base := u.Scheme + "://" + u.Host
	r.url = base + r.path + strings.TrimPrefix(m.Resource, base+u.EscapedPath()) // with its query
	return r, nil
}

// URL returns the address of the metadata (RFC 9728 §3.1): the resource
// identifier with the well-known path between host and path.
func (r *Resource) URL() string { return r.url }

// Path returns the path of [Resource.URL], for the router: percent-encoded as in
// the resource identifier, and without its query. If it ends in a slash, an
// [http.ServeMux] also routes longer paths to it, which is harmless.
func (r *Resource) Path() string { return r.path }

// ServeHTTP answers GET and HEAD with the metadata as JSON, which pages of any
// origin may read and which may be cached for an hour. It ignores the URL of the
// request. Register it at [Resource.Path], outside the middleware.
func (r *Resource) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Content-Type", "application/json")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(r.document) // the client is gone if this fails
	case http.MethodOptions:
		// A browser asks first if a client adds a header, as MCP clients do
		// (MCP-Protocol-Version).
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Max-Age", "3600")
		h.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (m Metadata) document() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a query's & stays readable
	_ = e.Encode(struct {  // strings always marshal
		_                                     struct{}
		Resource                              string   `json:"resource"`
		AuthorizationServers                  []string `json:"authorization_servers,omitempty"`
		JWKSURI                               string   `json:"jwks_uri,omitempty"`
		ScopesSupported                       []string `json:"scopes_supported,omitempty"`
		BearerMethodsSupported                []string `json:"bearer_methods_supported,omitempty"`
		ResourceSigningAlgValuesSupported     []string `json:"resource_signing_alg_values_supported,omitempty"`
		DPoPSigningAlgValuesSupported         []string `json:"dpop_signing_alg_values_supported,omitempty"`
		DPoPBoundAccessTokensRequired         bool     `json:"dpop_bound_access_tokens_required,omitempty"`
		TLSClientCertificateBoundAccessTokens bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
		ResourceName                          string   `json:"resource_name,omitempty"`
		ResourceDocumentation                 string   `json:"resource_documentation,omitempty"`
		ResourcePolicyURI                     string   `json:"resource_policy_uri,omitempty"`
		ResourceTOSURI                        string   `json:"resource_tos_uri,omitempty"`
		AuthorizationDetailsTypesSupported    []string `json:"authorization_details_types_supported,omitempty"`
	}(m))
	return b.Bytes()
}

func (m Metadata) checkURLs(p *problems.List) {
	for _, issuer := range m.AuthorizationServers {
		if u, err := syntax.ParsePublicURL(issuer); err != nil {
			p.AddHidden("AuthorizationServers", "%w", err)
		} else if u.RawQuery != "" || u.ForceQuery {
			p.Add("AuthorizationServers", issuer, "want no query") // RFC 8414 §2
		}
	}
	if m.JWKSURI != "" {
		if _, err := syntax.ParsePublicURL(m.JWKSURI); err != nil {
			p.AddHidden("JWKSURI", "%w", err)
		}
	}
	for _, link := range []struct{ field, text string }{
		{"ResourceDocumentation", m.ResourceDocumentation},
		{"ResourcePolicyURI", m.ResourcePolicyURI},
		{"ResourceTOSURI", m.ResourceTOSURI},
	} {
		if link.text != "" && !isWebURL(link.text) { // not shown: it may hold a password
			p.AddHidden(link.field, "want an absolute https or http URL, percent-encoded, without user")
		}
	}
}

func (m Metadata) checkLists(p *problems.List) {
	methods := []string{"header", "body", "query"}
	for _, list := range []struct {
		field  string
		values []string
		valid  func(string) bool
		want   string
	}{
		{"ScopesSupported", m.ScopesSupported, syntax.IsScope, "want one scope (RFC 6749 §3.3)"},
		{"BearerMethodsSupported", m.BearerMethodsSupported, func(s string) bool { return slices.Contains(methods, s) }, "want header, body or query"},
		{"ResourceSigningAlgValuesSupported", m.ResourceSigningAlgValuesSupported, func(s string) bool { return s != "" && !strings.EqualFold(s, "none") }, "want an algorithm other than none"},
		{"DPoPSigningAlgValuesSupported", m.DPoPSigningAlgValuesSupported, func(s string) bool { return slices.Contains(jwk.PublicKeyAlgorithms(), s) }, "want a public-key algorithm"},
		{"AuthorizationDetailsTypesSupported", m.AuthorizationDetailsTypesSupported, func(s string) bool { return s != "" }, "want a type"},
	} {
		for _, value := range list.values {
			switch {
			case !utf8.ValidString(value):
				p.Add(list.field, value, "want UTF-8")
			case !list.valid(value):
				p.Add(list.field, value, "%s", list.want)
			}
		}
	}
}

// isWebURL reports whether text is a URL to show to people.
func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http") &&
		syntax.FitsQuotedString(text) && !strings.Contains(text, " ")
}
