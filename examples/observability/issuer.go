package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// keyServer issues a token to everyone who asks, publishes its key, and can be
// broken. It is not observed.
type keyServer struct {
	url     string
	private *ecdsa.PrivateKey
	broken  atomic.Bool
}

const keyID = "1"

func newKeyServer(url string) (*keyServer, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &keyServer{url: url, private: private}, err
}

// issue answers with a token. The query may name a kid that is not published, and
// a lifetime.
func (s *keyServer) issue(w http.ResponseWriter, r *http.Request) {
	lifetime, kid := 15*time.Minute, keyID
	if d, err := time.ParseDuration(r.URL.Query().Get("lifetime")); err == nil {
		lifetime = d
	}
	if other := r.URL.Query().Get("kid"); other != "" {
		kid = other
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
		Issuer: s.url, Audience: jwt.ClaimStrings{audience}, Subject: "alice", ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(lifetime)),
	})
	t.Header["kid"] = kid
	compact, err := t.SignedString(s.private)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(compact))
}

// serve publishes the key as a JSON Web Key Set (RFC 7517 §5).
func (s *keyServer) serve(w http.ResponseWriter, _ *http.Request) {
	jwk, err := jwkset.NewJWKFromKey(&s.private.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
		ALG: jwkset.AlgES256, KID: keyID, USE: jwkset.UseSig,
	}})
	if err != nil || s.broken.Load() {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
}
