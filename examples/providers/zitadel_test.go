package providers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/seed450a7203/jwthttp"
)

// zitadelClaims are those of docs/providers.md without roles, which the example
// server of zitadel/oidc does not have.
type zitadelClaims struct{ jwt.RegisteredClaims }

func (c zitadelClaims) Validate() error {
	if c.ID == "" {
		return errors.New("no jti: an ID token")
	}
	return nil
}

// startZitadel starts the example server of zitadel/oidc, the OpenID Provider in
// Zitadel. In its tokens, aud is the client ID.
func startZitadel(t *testing.T) *provider {
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	issuer := "http://" + server.Listener.Addr().String()
	clients := map[string]*storage.Client{}
	for _, id := range []string{"web", "short", "other"} {
		clients[id] = storage.WebClient(id, secret, redirect)
	}
	store := &zitadelStorage{Storage: storage.NewStorageWithClients(storage.NewUserStore(issuer), clients)}
	store.rotate(t)
	server.Config.Handler = exampleop.SetupServer(issuer, store, slog.New(slog.DiscardHandler), false)
	server.Start()

	login := func(t *testing.T, client, scope string) tokens {
		t.Helper()
		return newFlow(t, issuer, client).login(url.Values{"scope": {scope}},
			url.Values{"username": {"test-user2"}, "password": {"verysecure"}})
	}
	return &provider{
		issuer:   issuer,
		accepted: jwthttp.Issuer{Audience: []string{"web", "short"}, Algorithms: []string{"RS256"}},
		new:      jwthttp.New[zitadelClaims],
		login:    func(t *testing.T) tokens { return login(t, "web", "openid offline_access") },
		foreign:  func(t *testing.T) string { return login(t, "other", "openid").Access },
		expired:  func(t *testing.T) string { return login(t, "short", "openid").Access },
		idToken:  jwthttp.ReasonClaims,
		rotate:   store.rotate,
	}
}

// zitadelStorage changes what the example server cannot be told: access tokens are
// JWTs, those of the client short have expired, and keys rotate.
type zitadelStorage struct {
	*storage.Storage
	mu   sync.Mutex
	keys []zitadelKey // the last one signs
}

func (s *zitadelStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := s.Storage.GetClientByClientID(ctx, id)
	return jwtClient{client}, err
}

type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s *zitadelStorage) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, expires, err := s.Storage.CreateAccessToken(ctx, r)
	if slices.Contains(r.GetAudience(), "short") {
		expires = time.Now().Add(-time.Hour)
	}
	return id, expires, err
}

func (s *zitadelStorage) rotate(t *testing.T) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, zitadelKey{strconv.Itoa(len(s.keys)), key})
}

func (s *zitadelStorage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

func (s *zitadelStorage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set []op.Key
	for _, key := range s.keys {
		set = append(set, zitadelPublicKey{key})
	}
	return set, nil
}

type zitadelKey struct {
	id  string
	key *rsa.PrivateKey
}

func (k zitadelKey) ID() string                                  { return k.id }
func (k zitadelKey) Key() any                                    { return k.key }
func (k zitadelKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }

type zitadelPublicKey struct{ zitadelKey }

func (k zitadelPublicKey) Key() any                           { return &k.key.PublicKey }
func (k zitadelPublicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k zitadelPublicKey) Use() string                        { return "sig" }
