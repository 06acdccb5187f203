package jwthttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// ResourceMetadata describes a protected resource to clients that have never
// heard of it (RFC 9728): which authorization servers issue tokens for it, and
// with which scopes. It belongs into three places: a 401 leads clients to the
// metadata if [Options].ResourceMetadataURL says where that is, the router has
// to serve it there, and tokens are for the resource that it names:
//
//	metadata := jwthttp.ResourceMetadata{
//		Resource:             "https://api.example/mcp",
//		AuthorizationServers: []string{"https://login.example"},
//	}
//	opts.ResourceMetadataURL = metadata.URL()
//	opts.Issuers[0].Audience = []string{metadata.Resource} // RFC 8707
//	mux.Handle(metadata.Path(), metadata.Handler())        // outside of the authentication
//
// Members that are empty are left out of the document (RFC 9728 §3.2). There
// is none for tokens bound to a key (DPoP, mutual TLS): a [Middleware] refuses
// those.
type ResourceMetadata struct {
	_ struct{}

	// Resource is the resource identifier: the URL that clients know the
	// resource by, as they spell it, since they compare it letter for letter
	// (RFC 9728 §3.3). Required: https, or http on loopback, without user and
	// fragment.
	Resource string
	// AuthorizationServers are the issuer identifiers of those that issue
	// tokens for the resource (RFC 8414): https, or http on loopback.
	AuthorizationServers []string
	// JWKSURI has keys of the resource itself, for signed responses: https, or
	// http on loopback. The keys that tokens are signed with are the
	// authorization server's, and not here.
	JWKSURI string
	// ScopesSupported are scopes to ask for. Not all of them need be named: a
	// client may begin with few, and learn of others from an insufficient_scope.
	ScopesSupported []string
	// BearerMethodsSupported says where a token may be: "header", "body" or
	// "query" (RFC 6750 §2). What a Middleware takes is its Extractor's matter.
	// An empty list is left out, and so does not say that there is no way.
	BearerMethodsSupported []string
	// ResourceSigningAlgValuesSupported are the "alg" values of signed
	// responses; never "none".
	ResourceSigningAlgValuesSupported []string
	ResourceName                      string // for people
	ResourceDocumentation             string // URL, for developers
	ResourcePolicyURI                 string // URL: how the client may use the data
	ResourceTOSURI                    string // URL: terms of service
	// AuthorizationDetailsTypesSupported are values of "type" in authorization_details (RFC 9396).
	AuthorizationDetailsTypesSupported []string
}

// wellKnown is inserted between the host and the path of a resource (RFC 9728 §3).
const wellKnown = "/.well-known/oauth-protected-resource"

// URL returns where clients look for the metadata (RFC 9728 §3.1): the resource
// identifier with the well-known path between host and path. A slash that is
// the whole path is left out, any other stays. It panics if Resource is no
// resource identifier.
func (m ResourceMetadata) URL() string {
	u := m.mustParse()
	query := strings.TrimPrefix(m.Resource, u.Scheme+"://"+u.Host+u.EscapedPath())
	return u.Scheme + "://" + u.Host + m.Path() + query
}

// Path returns the path of URL, for the router: percent-encoded as Resource has
// it, and without a query. A slash at its end makes it a subtree for an
// [http.ServeMux], which harms nobody. It panics as URL does.
func (m ResourceMetadata) Path() string {
	if u := m.mustParse(); u.Path != "/" {
		return wellKnown + u.EscapedPath()
	}
	return wellKnown
}

func (m ResourceMetadata) mustParse() *url.URL {
	u, err := parsePublicURL(m.Resource)
	if err != nil {
		panic("jwthttp: ResourceMetadata: Resource: " + err.Error())
	}
	return u
}

// Handler answers GET and HEAD with the metadata, in JSON, for pages of any
// origin and for an hour of caching. It belongs outside of the authentication,
// at [ResourceMetadata.Path]; it does not look at the request's URL. The
// document is made once: later changes of m do not reach it.
//
// It panics if something is wrong with m, naming all of it: no Resource, URLs
// that are none or have a user, an authorization server with a query or
// fragment, an empty string in a list, "none" as an algorithm, a bearer method
// or a scope that is none, text that is not UTF-8.
func (m ResourceMetadata) Handler() http.Handler {
	if err := m.check(); err != nil {
		panic(err.Error())
	}
	document := m.document()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			h.Set("Cache-Control", "public, max-age=3600")
			h.Set("Content-Type", "application/json")
			h.Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(document) // the client is gone if this fails
		case http.MethodOptions:
			// A header of a client's own (MCP-Protocol-Version) makes its
			// browser ask first.
			h.Set("Access-Control-Allow-Methods", "GET, HEAD")
			h.Set("Access-Control-Allow-Headers", "*")
			h.Set("Access-Control-Max-Age", "3600")
			h.Set("Allow", "GET, HEAD, OPTIONS")
			w.WriteHeader(http.StatusNoContent)
		default:
			h.Set("Allow", "GET, HEAD, OPTIONS")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		}
	})
}

func (m ResourceMetadata) document() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a query's & stays readable
	_ = e.Encode(struct {  // strings always marshal
		_                                  struct{}
		Resource                           string   `json:"resource"`
		AuthorizationServers               []string `json:"authorization_servers,omitempty"`
		JWKSURI                            string   `json:"jwks_uri,omitempty"`
		ScopesSupported                    []string `json:"scopes_supported,omitempty"`
		BearerMethodsSupported             []string `json:"bearer_methods_supported,omitempty"`
		ResourceSigningAlgValuesSupported  []string `json:"resource_signing_alg_values_supported,omitempty"`
		ResourceName                       string   `json:"resource_name,omitempty"`
		ResourceDocumentation              string   `json:"resource_documentation,omitempty"`
		ResourcePolicyURI                  string   `json:"resource_policy_uri,omitempty"`
		ResourceTOSURI                     string   `json:"resource_tos_uri,omitempty"`
		AuthorizationDetailsTypesSupported []string `json:"authorization_details_types_supported,omitempty"`
	}(m))
	return b.Bytes()
}

func (m ResourceMetadata) check() error {
	var p problems
	if _, err := parsePublicURL(m.Resource); err != nil {
		p = append(p, fmt.Errorf("jwthttp: ResourceMetadata: Resource: %w", err))
	}
	for _, issuer := range m.AuthorizationServers {
		if u, err := parsePublicURL(issuer); err != nil {
			p = append(p, fmt.Errorf("jwthttp: ResourceMetadata: AuthorizationServers: %w", err))
		} else if u.RawQuery != "" || u.ForceQuery {
			p.add("ResourceMetadata: AuthorizationServers", issuer, "want no query (RFC 8414 §2)")
		}
	}
	if m.JWKSURI != "" {
		if _, err := parsePublicURL(m.JWKSURI); err != nil {
			p = append(p, fmt.Errorf("jwthttp: ResourceMetadata: JWKSURI: %w", err))
		}
	}
	for _, link := range []struct{ field, text string }{
		{"ResourceDocumentation", m.ResourceDocumentation}, {"ResourcePolicyURI", m.ResourcePolicyURI}, {"ResourceTOSURI", m.ResourceTOSURI},
	} {
		if link.text != "" && !isWebURL(link.text) { // not quoted: there may be a password in it
			p = append(p, fmt.Errorf("jwthttp: ResourceMetadata: %s: want an absolute https or http URL without user and odd characters", link.field))
		}
	}
	m.checkLists(&p)
	if !utf8.ValidString(m.ResourceName) {
		p.add("ResourceMetadata: ResourceName", m.ResourceName, "want UTF-8")
	}
	return errors.Join(p...)
}

func (m ResourceMetadata) checkLists(p *problems) {
	methods := []string{"header", "body", "query"}
	for _, list := range []struct {
		field  string
		values []string
		bad    func(string) bool
	}{
		{"ScopesSupported", m.ScopesSupported, notScopeToken},
		{"BearerMethodsSupported", m.BearerMethodsSupported, func(s string) bool { return !slices.Contains(methods, s) }},
		{"ResourceSigningAlgValuesSupported", m.ResourceSigningAlgValuesSupported, func(s string) bool { return s == "" || strings.EqualFold(s, "none") }},
		{"AuthorizationDetailsTypesSupported", m.AuthorizationDetailsTypesSupported, func(s string) bool { return s == "" }},
	} {
		for _, value := range list.values {
			if list.bad(value) || !utf8.ValidString(value) {
				p.add("ResourceMetadata: "+list.field, value, "is none")
			}
		}
	}
}

// isWebURL judges a link for people.
func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http") &&
		fitsQuotedString(text) && !strings.Contains(text, " ")
}
