package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// keyring holds the keys of the identity service. Which key signs and which keys
// are published depends on the time only.
type keyring struct {
	announce time.Duration // from a key's publication to its first use
	lifetime time.Duration // of the longest-lived token

	mu   sync.Mutex
	keys []signingKey // the newest last
}

type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
	from    time.Time // when it begins to sign
}

func newKeyring(announce, lifetime time.Duration) (*keyring, error) {
	r := &keyring{announce: announce, lifetime: lifetime}
	return r, r.add(time.Now())
}

var errPending = errors.New("the latest key is not in use yet")

// rotate publishes a new key, which signs after the announcement. A site fetches
// the key set at most once in MinInterval. A token of a key that the site could
// not know yet would be rejected.
func (r *keyring) rotate() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.keys[len(r.keys)-1].from) {
		return errPending
	}
	r.keys = r.publishedAt(now)
	return r.add(now.Add(r.announce))
}

func (r *keyring) add(from time.Time) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		r.keys = append(r.keys, signingKey{rand.Text(), private, from})
	}
	return err
}

// sign signs with the newest key that has been announced for long enough.
func (r *keyring) sign(typ string, claims jwt.Claims) (string, error) {
	r.mu.Lock()
	now := time.Now()
	key := r.keys[0]
	for _, k := range r.keys[1:] {
		if !now.Before(k.from) {
			key = k
		}
	}
	r.mu.Unlock()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["kid"], t.Header["typ"] = key.id, typ
	return t.SignedString(key.private)
}

// published returns the keys that verify: the one that signs, those whose last
// token may still be valid, and one that will sign soon.
func (r *keyring) published() []signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.publishedAt(time.Now())
}

func (r *keyring) publishedAt(now time.Time) []signingKey {
	first := 0
	for i, next := range r.keys[1:] {
		if now.After(next.from.Add(r.lifetime + leeway)) {
			first = i + 1
		}
	}
	return slices.Clone(r.keys[first:])
}

// verifying is the jwthttp.Keyfunc of the identity service.
func (r *keyring) verifying(t *jwt.Token) (any, error) {
	set := jwthttp.KeySet{}
	for _, k := range r.published() {
		set[k.id] = &k.private.PublicKey
	}
	return set.KeyfuncCtx(context.Background())(t)
}

// ServeHTTP serves the public keys as a JSON Web Key Set (RFC 7517 §5).
func (r *keyring) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	set := jwkset.JWKSMarshal{}
	for _, k := range r.published() {
		jwk, err := jwkset.NewJWKFromKey(&k.private.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
			ALG: jwkset.AlgES256, KID: k.id, USE: jwkset.UseSig,
		}})
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	writeJSON(w, http.StatusOK, set)
}
