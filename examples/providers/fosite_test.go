package providers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
	fositejwt "github.com/ory/fosite/token/jwt"

	"github.com/seed450a7203/jwthttp"
)

// startFosite starts a server made of ory/fosite, the OAuth 2.0 provider in Ory
// Hydra, with the claims that Hydra adds.
func startFosite(t *testing.T) *provider {
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	s := newFosite(t, "http://"+server.Listener.Addr().String())
	server.Config.Handler = s.handler()
	server.Start()

	service := func(t *testing.T, client string) string {
		t.Helper()
		return newFlow(t, s.issuer, client).token("client_credentials", url.Values{"scope": {scope}}).Access
	}
	return &provider{
		issuer: s.issuer,
		accepted: jwthttp.Issuer{
			Audience: []string{jwthttp.Any}, Clients: []string{"web", "short"}, Algorithms: []string{"RS256"},
		},
		new:    jwthttp.New[jwt.RegisteredClaims],
		scopes: []string{scope},
		login: func(t *testing.T) tokens {
			t.Helper()
			return newFlow(t, s.issuer, "web").login(url.Values{"scope": {"openid offline " + scope}}, nil)
		},
		service: func(t *testing.T) string { return service(t, "web") },
		foreign: func(t *testing.T) string { return service(t, "other") },
		expired: func(t *testing.T) string { return service(t, "short") },
		idToken: jwthttp.ReasonAudience,
		rotate:  s.rotate,
	}
}

// fositeServer has the endpoints that fosite leaves to its user.
type fositeServer struct {
	fosite.OAuth2Provider
	issuer string
	mu     sync.Mutex
	keys   []*rsa.PrivateKey // the last one signs; its index is its kid
}

func newFosite(t *testing.T, issuer string) *fositeServer {
	t.Helper()
	s := &fositeServer{issuer: issuer}
	s.rotate(t)
	config := &fosite.Config{
		AccessTokenIssuer: issuer, IDTokenIssuer: issuer, GlobalSecret: []byte(rand.Text() + rand.Text()),
		HashCost: 4, // the lowest one of bcrypt
	}
	store := storage.NewMemoryStore()
	hash, err := (&fosite.BCrypt{Config: config}).Hash(t.Context(), []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	ago := -time.Hour
	for id, lifespan := range map[string]*time.Duration{"web": nil, "other": nil, "short": &ago} {
		store.Clients[id] = &fosite.DefaultClientWithCustomTokenLifespans{
			DefaultClient: &fosite.DefaultClient{
				ID: id, Secret: hash, RedirectURIs: []string{redirect}, ResponseTypes: []string{"code"},
				GrantTypes: []string{"authorization_code", "refresh_token", "client_credentials"}, Scopes: []string{"openid", "offline", scope},
			},
			TokenLifespans: &fosite.ClientLifespanConfig{ClientCredentialsGrantAccessTokenLifespan: lifespan},
		}
	}
	s.OAuth2Provider = compose.Compose(config, store, &compose.CommonStrategy{
		CoreStrategy:               compose.NewOAuth2JWTStrategy(s.signingKey, compose.NewOAuth2HMACStrategy(config), config),
		OpenIDConnectTokenStrategy: compose.NewOpenIDConnectStrategy(s.signingKey, config),
		Signer:                     &fositejwt.DefaultSigner{GetPrivateKey: s.signingKey},
	}, compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2ClientCredentialsGrantFactory, compose.OpenIDConnectExplicitFactory)
	return s
}

func (s *fositeServer) rotate(t *testing.T) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
}

func (s *fositeServer) signingKey(context.Context) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

func (s *fositeServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": s.issuer, "authorization_endpoint": s.issuer + "/auth", "token_endpoint": s.issuer + "/token", "jwks_uri": s.issuer + "/keys",
		})
	})
	mux.HandleFunc("GET /keys", s.keySet)
	mux.HandleFunc("GET /auth", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	return mux
}

func (s *fositeServer) keySet(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set jose.JSONWebKeySet
	for i, key := range s.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &key.PublicKey, KeyID: strconv.Itoa(i), Algorithm: "RS256", Use: "sig"})
	}
	_ = json.NewEncoder(w).Encode(set)
}

// authorize asks the user nothing.
func (s *fositeServer) authorize(w http.ResponseWriter, r *http.Request) {
	request, err := s.NewAuthorizeRequest(r.Context(), r)
	if err != nil {
		s.WriteAuthorizeError(r.Context(), w, request, err)
		return
	}
	for _, asked := range request.GetRequestedScopes() {
		request.GrantScope(asked)
	}
	response, err := s.NewAuthorizeResponse(r.Context(), request, s.session("alice", request.GetClient()))
	if err != nil {
		s.WriteAuthorizeError(r.Context(), w, request, err)
		return
	}
	s.WriteAuthorizeResponse(r.Context(), w, request, response)
}

func (s *fositeServer) token(w http.ResponseWriter, r *http.Request) {
	session := s.session("", nil) // of a user: replaced by that of the code
	request, err := s.NewAccessRequest(r.Context(), r, session)
	if err != nil {
		s.WriteAccessError(r.Context(), w, request, err)
		return
	}
	if request.GetGrantTypes().ExactOne("client_credentials") {
		session.client, session.Subject = request.GetClient().GetID(), request.GetClient().GetID()
		for _, asked := range request.GetRequestedScopes() {
			request.GrantScope(asked)
		}
	}
	response, err := s.NewAccessResponse(r.Context(), request)
	if err != nil {
		s.WriteAccessError(r.Context(), w, request, err)
		return
	}
	s.WriteAccessResponse(r.Context(), w, request, response)
}

// fositeSession has the claims of both tokens.
type fositeSession struct {
	*openid.DefaultSession
	client string
}

func (s *fositeServer) session(subject string, client fosite.Client) *fositeSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := &fositeSession{DefaultSession: openid.NewDefaultSession()}
	session.Subject, session.Claims.Subject = subject, subject
	session.Headers.Add("kid", strconv.Itoa(len(s.keys)-1))
	if client != nil {
		session.client = client.GetID()
	}
	return session
}

func (s *fositeSession) Clone() fosite.Session {
	return &fositeSession{s.DefaultSession.Clone().(*openid.DefaultSession), s.client}
}

func (s *fositeSession) GetJWTHeader() *fositejwt.Headers { return s.Headers }

func (s *fositeSession) GetJWTClaims() fositejwt.JWTClaimsContainer {
	return &fositejwt.JWTClaims{Subject: s.Subject, Extra: map[string]any{"client_id": s.client, "ext": map[string]any{}}}
}
