package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/rs/cors"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/proof"
)

const (
	codeLifetime    = time.Minute
	tokenLifetime   = 15 * time.Minute
	refreshLifetime = 8 * time.Hour
	maxClients      = 1000 // because everyone can register
	maxGrants       = 1000 // and gets grants
)

// authServer is a small authorization server: codes with PKCE (RFC 7636), access
// tokens for one resource (RFC 9068, RFC 8707), refresh tokens, and registration
// of clients (RFC 7591). It has one user, who is never asked.
//
// Only a client that has registered the grant type refresh_token gets refresh tokens.
// A refresh token keeps the scopes of its grant (RFC 6749 §6). For more scopes, a
// client must authorize again, as the SDK for Go does. The SDK for TypeScript does so
// only without a refresh token. With one, it answers a 403 by a refresh, gets the
// same scopes, and gives up. So either its clients do not register refresh_token, or
// the server grants all scopes at first (allScopes).
type authServer struct {
	url, resource string
	lifetime      time.Duration
	key           *ecdsa.PrivateKey
	used          *jwthttp.ReplayCache // of DPoP proofs; nil: tokens are not bound to a key

	mu        sync.Mutex
	allScopes bool                    // grant all scopes, even if a client asks for fewer
	clients   map[string]registration // by client_id
	grants    map[string]grant        // by code or refresh token; each can be used once
}

// registration is a registered client (RFC 7591 §2).
type registration struct {
	RedirectURIs []string `json:"redirect_uris"`
	AuthMethod   string   `json:"token_endpoint_auth_method"`
	GrantTypes   []string `json:"grant_types"`
}

// grant is the meaning of a code or refresh token.
type grant struct {
	kind, client, user, scope string
	redirect, challenge       string // for a code only
	thumbprint                string // of the key that a refresh token is bound to
	expires                   time.Time
}

// startAuthServer serves at another address until ctx ends, and returns its issuer
// identifier.
func startAuthServer(ctx context.Context, resource string, allScopes, dpop bool) (issuer string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s, err := newAuthServer("http://"+listener.Addr().String(), resource)
	if err != nil {
		return "", err
	}
	s.allScopes = allScopes
	if dpop {
		s.used = jwthttp.NewReplayCache(10000)
	}
	server := &http.Server{Handler: s.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Print("authorization server: ", err)
		}
	}()
	return s.url, nil
}

func newAuthServer(url, resource string) (*authServer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &authServer{
		url: url, resource: resource, lifetime: tokenLifetime, key: key,
		clients: map[string]registration{}, grants: map[string]grant{},
	}, err
}

func (s *authServer) handler() http.Handler {
	open := http.NewServeMux()
	open.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	open.HandleFunc("GET /keys", s.keys)
	open.HandleFunc("POST /register", s.register)
	open.HandleFunc("POST /token", s.token)
	mux := http.NewServeMux()
	mux.Handle("/", cors.New(cors.Options{AllowedHeaders: []string{"*"}}).Handler(open)) // for clients in pages of any origin
	mux.HandleFunc("GET /authorize", s.authorize)                                        // for browsers
	return mux
}

func (s *authServer) metadata(w http.ResponseWriter, _ *http.Request) {
	var proofs []string
	if s.used != nil {
		proofs = []string{"ES256"}
	}
	writeJSON(w, http.StatusOK, struct {
		oauthex.AuthServerMeta
		ProofAlgorithms []string `json:"dpop_signing_alg_values_supported,omitempty"` // RFC 9449 §5.1
	}{oauthex.AuthServerMeta{
		Issuer:                            s.url,
		JWKSURI:                           s.url + "/keys",
		AuthorizationEndpoint:             s.url + "/authorize",
		TokenEndpoint:                     s.url + "/token",
		RegistrationEndpoint:              s.url + "/register",
		ScopesSupported:                   supportedScopes(),
		ResponseTypesSupported:            []string{"code"},
		GrantTypesSupported:               []string{"authorization_code", "refresh_token"},
		TokenEndpointAuthMethodsSupported: []string{"none"},
		CodeChallengeMethodsSupported:     []string{"S256"},
		// RFC 9207: a client of several servers sees which one answered.
		AuthorizationResponseIssParameterSupported: true,
	}, proofs})
}

func supportedScopes() []string {
	return append(slices.Sorted(maps.Values(scopes)), scopeUse)
}

func (s *authServer) keys(w http.ResponseWriter, _ *http.Request) {
	jwk, err := jwkset.NewJWKFromKey(&s.key.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
		ALG: jwkset.AlgES256, KID: "1", USE: jwkset.UseSig,
	}})
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
}

// register accepts only public clients on the user's machine (RFC 8252). Others
// would get the codes of a user who is never asked.
func (s *authServer) register(w http.ResponseWriter, r *http.Request) {
	var client registration
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&client)
	if err != nil || client.AuthMethod != "none" {
		writeError(w, "invalid_client_metadata")
		return
	}
	if len(client.RedirectURIs) == 0 || slices.ContainsFunc(client.RedirectURIs, notLoopback) {
		writeError(w, "invalid_redirect_uri")
		return
	}
	if client.GrantTypes == nil {
		client.GrantTypes = []string{"authorization_code"} // RFC 7591 §2
	}
	id := rand.Text()
	s.mu.Lock()
	full := len(s.clients) >= maxClients
	if !full {
		s.clients[id] = client
	}
	s.mu.Unlock()
	if full {
		http.Error(w, "too many clients", http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, http.StatusCreated, struct {
		ID string `json:"client_id"`
		registration
	}{id, client})
}

func notLoopback(redirect string) bool {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme != "http" || u.User != nil || strings.Contains(redirect, "#") {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// authorize sends the browser back with a code. A real server signs the user in
// here and asks which scopes to grant. It shows the client and the destination of
// the code, because everyone can register under any name.
func (s *authServer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client, redirect := q.Get("client_id"), q.Get("redirect_uri")
	s.mu.Lock()
	registered := s.clients[client].RedirectURIs
	s.mu.Unlock()
	if !slices.Contains(registered, redirect) { // RFC 6749 §4.1.2.1: no redirect then
		http.Error(w, "unknown client_id or redirect_uri", http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}, "iss": {s.url}}
	switch {
	case q.Get("response_type") != "code":
		answer.Set("error", "unsupported_response_type")
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		answer.Set("error", "invalid_request")
	case !slices.Equal(q["resource"], []string{s.resource}):
		answer.Set("error", "invalid_target") // RFC 8707 §2
	case !s.grantable(q.Get("scope")):
		answer.Set("error", "invalid_scope")
	default:
		code, ok := s.grant(grant{
			kind: "authorization_code", client: client, user: "alice", scope: s.granted(q.Get("scope")),
			redirect: redirect, challenge: q.Get("code_challenge"), expires: time.Now().Add(codeLifetime),
		})
		if ok {
			answer.Set("code", code)
		} else {
			answer.Set("error", "temporarily_unavailable") // RFC 6749 §4.1.2.1
		}
	}
	u, _ := url.Parse(redirect) // register has parsed it
	query := u.Query()
	maps.Copy(query, answer)
	u.RawQuery = query.Encode()
	http.Redirect(w, r, u.String(), http.StatusFound)
}

// granted returns the scopes that a client gets if it asks for these. The answer of
// token names them (RFC 6749 §3.3).
func (s *authServer) granted(asked string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.allScopes {
		return strings.Join(supportedScopes(), " ")
	}
	return asked
}

// grantable reports whether all scopes are supported. It refuses repeated scopes
// and extra spaces (RFC 6749 §3.3), so a stored scope is short.
func (s *authServer) grantable(scope string) bool {
	wanted := strings.Split(scope, " ")
	for i, one := range wanted {
		if !slices.Contains(supportedScopes(), one) || slices.Contains(wanted[:i], one) {
			return false
		}
	}
	return true
}

// grant stores g and returns its secret. It returns false if there are too many.
func (s *authServer) grant(g grant) (secret string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.grants) >= maxGrants {
		maps.DeleteFunc(s.grants, func(_ string, g grant) bool { return time.Now().After(g.expires) })
	}
	if len(s.grants) >= maxGrants {
		return "", false
	}
	secret = rand.Text()
	s.grants[secret] = g
	return secret, true
}

// take removes and returns the grant of secret if it has that kind.
func (s *authServer) take(kind, secret string) (grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.grants[secret]
	delete(s.grants, secret)
	return g, ok && g.kind == kind && time.Now().Before(g.expires)
}

// redeem returns the grant of a token request, or an error code.
func (s *authServer) redeem(r *http.Request) (g grant, code string) {
	var ok bool
	switch kind := r.PostFormValue("grant_type"); kind {
	case "authorization_code":
		if g, ok = s.take(kind, r.PostFormValue("code")); ok {
			sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
			ok = g.challenge == base64.RawURLEncoding.EncodeToString(sum[:]) && g.redirect == r.PostFormValue("redirect_uri")
		}
	case "refresh_token":
		g, ok = s.take(kind, r.PostFormValue("refresh_token"))
	default:
		return grant{}, "unsupported_grant_type"
	}
	if !ok || g.client != r.PostFormValue("client_id") {
		return grant{}, "invalid_grant"
	}
	// A grant is for one resource (RFC 8707 §2.2). Clients leave the parameter
	// out when they refresh.
	if resource := r.PostForm["resource"]; g.kind == "authorization_code" || resource != nil {
		if !slices.Equal(resource, []string{s.resource}) {
			return grant{}, "invalid_target"
		}
	}
	return g, ""
}

func (s *authServer) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	g, code := s.redeem(r)
	if code == "" && s.used != nil {
		g.thumbprint, code = s.checkProof(r, g.thumbprint)
	}
	if code != "" {
		writeError(w, code)
		return
	}
	access, err := s.sign(nil, s.claims(g))
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	if g.kind != "refresh_token" {
		g.expires = time.Now().Add(refreshLifetime)
	}
	g.kind = "refresh_token"
	tokenType := "Bearer"
	if g.thumbprint != "" {
		tokenType = "DPoP"
	}
	answer := map[string]any{
		"access_token": access, "token_type": tokenType, "expires_in": int(s.lifetime.Seconds()), "scope": g.scope,
	}
	if s.refreshes(g.client) {
		if refresh, ok := s.grant(g); ok { // optional (RFC 6749 §5.1)
			answer["refresh_token"] = refresh
		}
	}
	writeJSON(w, http.StatusOK, answer)
}

// checkProof returns the thumbprint of the key that has made the DPoP proof, or an
// error code. A refresh token is bound to its key (RFC 9449 §5).
func (s *authServer) checkProof(r *http.Request, want string) (thumbprint, code string) {
	p, err := proof.Check(r, s.url+"/token")
	if err != nil {
		return "", "invalid_dpop_proof"
	}
	if want != "" && p.Thumbprint != want {
		return "", "invalid_grant"
	}
	if fresh, err := s.used.Fresh(r.Context(), p.ID, p.Until); err != nil || !fresh {
		return "", "invalid_dpop_proof"
	}
	return p.Thumbprint, ""
}

// refreshes reports whether the client has registered for refresh tokens.
func (s *authServer) refreshes(client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.clients[client].GrantTypes, "refresh_token")
}

// claims returns the claims of RFC 9068 §2.2.
func (s *authServer) claims(g grant) jwt.MapClaims {
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": s.url, "aud": s.resource, "sub": g.user, "client_id": g.client, "scope": g.scope,
		"jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(s.lifetime).Unix(),
	}
	if g.thumbprint != "" {
		claims["cnf"] = map[string]string{"jkt": g.thumbprint}
	}
	return claims
}

func (s *authServer) sign(header map[string]any, claims jwt.MapClaims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["typ"], t.Header["kid"] = "at+jwt", "1"
	maps.Copy(t.Header, header)
	return t.SignedString(s.key)
}

func writeError(w http.ResponseWriter, code string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": code})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}
