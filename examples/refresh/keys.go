package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// keyring has the keys that sign access tokens: retired ones, the one that signs,
// and the next one, which is published before it signs. A service that fetches the
// key set has it by then.
type keyring struct {
	lifetime time.Duration // of an access token

	mu   sync.Mutex
	keys []signingKey // the next one is the last
}

type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
	retired time.Time // zero if it signs or will sign
}

func newKeyring(lifetime time.Duration) (*keyring, error) {
	k := &keyring{lifetime: lifetime}
	for range 2 {
		if err := k.add(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *keyring) add() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		k.keys = append(k.keys, signingKey{id: rand.Text(), private: private})
	}
	return err
}

// rotate makes the next key sign, and publishes another one. A retired key stays
// until its last token has expired.
func (k *keyring) rotate(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[len(k.keys)-2].retired = now
	if err := k.add(); err != nil {
		return err
	}
	for !k.keys[0].retired.IsZero() && now.Sub(k.keys[0].retired) > k.lifetime+leeway {
		k.keys = k.keys[1:]
	}
	return nil
}

func (k *keyring) sign(claims jwt.Claims) (string, error) {
	k.mu.Lock()
	key := k.keys[len(k.keys)-2]
	k.mu.Unlock()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["kid"], t.Header["typ"] = key.id, "at+jwt"
	return t.SignedString(key.private)
}

// verifying is the jwthttp.Keyfunc of the resource in this program.
func (k *keyring) verifying(t *jwt.Token) (any, error) {
	set := jwthttp.KeySet{}
	for _, key := range k.published() {
		set[key.id] = &key.private.PublicKey
	}
	return set.KeyfuncCtx(context.Background())(t)
}

func (k *keyring) published() []signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]signingKey(nil), k.keys...)
}

// ServeHTTP serves the public keys (RFC 7517 §5).
func (k *keyring) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	set := jwkset.JWKSMarshal{}
	for _, key := range k.published() {
		jwk, err := jwkset.NewJWKFromKey(&key.private.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
			ALG: jwkset.AlgES256, KID: key.id, USE: jwkset.UseSig,
		}})
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	writeJSON(w, http.StatusOK, set)
}
