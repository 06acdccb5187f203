// Package jwthttptest provides an issuer for tests. It signs valid and invalid
// tokens, serves its key set and discovery document, and can be made to fail.
//
//	func TestMyAPI(t *testing.T) {
//		issuer := jwthttptest.New(t, "ES256")
//		api := newAPI(issuer.Trusted())
//		call(api, issuer.Token(map[string]any{"sub": "alice", "role": "editor"})) // 200
//		call(api, issuer.Expired(nil))                                             // 401
//	}
//
// A [Prover] makes DPoP proofs for tokens that are bound to its key.
//
// An [Issuer] without a network works inside a bubble of testing/synctest. A
// misuse of this package ends the test.
package jwthttptest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/jwk"
)

// Audience is the "aud" of tokens whose claims have no "aud".
const Audience = "https://api.test"

// Paths that an Issuer serves.
const (
	keySetPath    = "/keys"
	discoveryPath = "/.well-known/openid-configuration"
)

// Issuer signs tokens and serves the keys that verify them. [New] and [Start]
// return one; the zero value is not usable. An Issuer is safe for concurrent use.
type Issuer struct {
	tb     testing.TB
	method jwt.SigningMethod
	name   string

	mu      sync.Mutex
	keys    []key // the newest last
	signing string
	fetches int
	down    bool
	slow    time.Duration
	answer  http.HandlerFunc
}

type key struct {
	kid       string
	private   any // for signing
	public    any // for verifying; for HMAC the same as private
	withdrawn bool
}

// New returns an Issuer named "https://issuer.test" with one key for the given
// algorithm, such as "ES256". "Ed25519" and "EdDSA" differ only in the "alg" of
// tokens and keys. No server listens at the name; use [Issuer.Client].
func New(tb testing.TB, algorithm string) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb, name: "https://issuer.test", method: jwk.Method(algorithm)}
	if i.method == nil {
		tb.Fatalf("jwthttptest: unknown algorithm %q", algorithm)
	}
	i.Rotate()
	return i
}

// Start is like [New], but serves the Issuer on a free port of loopback and names
// it by the URL of that server, which is closed at the end of the test.
func Start(tb testing.TB, algorithm string) *Issuer {
	tb.Helper()
	i := New(tb, algorithm)
	server := httptest.NewUnstartedServer(i)
	i.name = "http://" + server.Listener.Addr().String() // before the first request reads it
	server.Start()
	tb.Cleanup(server.Close)
	return i
}

// Name returns the "iss" of the tokens. It is an argument for jwks.Discover.
func (i *Issuer) Name() string { return i.name }

// KeySetURL returns the URL of the key set. It is an argument for jwks.New.
func (i *Issuer) KeySetURL() string { return i.name + keySetPath }

// Trusted returns a jwthttp.Issuer that accepts the tokens of i. Its Keys are
// those published at the time of each request; no HTTP is involved.
func (i *Issuer) Trusted() jwthttp.Issuer {
	return jwthttp.Issuer{
		Name:       i.name,
		Audience:   []string{Audience},
		Algorithms: []string{i.method.Alg()},
		Keys: jwthttp.Keyfunc(func(t *jwt.Token) (any, error) {
			set := jwthttp.KeySet{}
			for _, k := range i.published() {
				set[k.kid] = k.public
			}
			return set.KeyfuncCtx(context.Background())(t)
		}),
	}
}

// Token returns a valid token. The claims are anything that marshals to a JSON
// object, or nil. A missing iss is set to the name of i, aud to [Audience], sub to
// "alice", jti to a random text, iat to now and exp to an hour from now. To leave
// a claim out, set it to null.
func (i *Issuer) Token(claims any) string {
	i.tb.Helper()
	return i.Sign(nil, i.complete(claims, 0))
}

// Expired is like [Issuer.Token], but the token expired ten minutes ago, which is
// longer than any leeway. An exp in the claims is ignored.
func (i *Issuer) Expired(claims any) string {
	i.tb.Helper()
	c := i.complete(claims, -time.Hour)
	c["exp"] = time.Now().Add(-10 * time.Minute).Unix()
	return i.Sign(nil, c)
}

// NotYetValid is like [Issuer.Token], but the token becomes valid in half an hour.
// An nbf in the claims is ignored.
func (i *Issuer) NotYetValid(claims any) string {
	i.tb.Helper()
	c := i.complete(claims, 0)
	c["nbf"] = time.Now().Add(30 * time.Minute).Unix()
	return i.Sign(nil, c)
}

// Forged is like [Issuer.Token], but the token is signed with another key than the
// one it names.
func (i *Issuer) Forged(claims any) string {
	i.tb.Helper()
	return i.sign(map[string]any{"kid": i.current().kid}, i.complete(claims, 0), i.newKey())
}

// Tampered is like [Issuer.Token], but the subject was changed after signing, to
// "mallory", or to "eve" if it was "mallory".
func (i *Issuer) Tampered(claims any) string {
	i.tb.Helper()
	c := i.complete(claims, 0)
	parts := strings.Split(i.Sign(nil, c), ".")
	if c["sub"] == "mallory" {
		c["sub"] = "eve"
	} else {
		c["sub"] = "mallory"
	}
	changed := strings.Split(i.Sign(nil, c), ".")
	return parts[0] + "." + changed[1] + "." + parts[2]
}

// Sign signs claims with the current key and adds nothing to them. The header has
// alg, typ and kid. Members of header replace them or, if nil, remove them.
func (i *Issuer) Sign(header map[string]any, claims any) string {
	i.tb.Helper()
	return i.sign(header, claims, i.current())
}

func (i *Issuer) sign(header map[string]any, claims any, k key) string {
	i.tb.Helper()
	t := jwt.New(i.method)
	t.Header["kid"] = k.kid
	maps.Copy(t.Header, header)
	maps.DeleteFunc(t.Header, func(_ string, v any) bool { return v == nil })
	t.Claims = i.object(claims)
	compact, err := t.SignedString(k.private)
	if err != nil {
		i.tb.Fatalf("jwthttptest: sign: %v", err)
	}
	return compact
}

func (i *Issuer) object(claims any) jwt.MapClaims {
	i.tb.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		i.tb.Fatalf("jwthttptest: claims: %v", err)
	}
	object := jwt.MapClaims{}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber() // a large number must stay what it is
	if err := decoder.Decode(&object); err != nil {
		i.tb.Fatalf("jwthttptest: claims of type %T are not a JSON object: %v", claims, err)
	}
	return object
}

func (i *Issuer) complete(claims any, issued time.Duration) jwt.MapClaims {
	i.tb.Helper()
	now := time.Now()
	c := jwt.MapClaims{
		"iss": i.name, "aud": Audience, "sub": "alice", "jti": rand.Text(),
		"iat": now.Add(issued).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if claims != nil {
		maps.Copy(c, i.object(claims))
	}
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Publish adds a key to the key set and returns its kid. The key signs no token
// before [Issuer.Use] is called.
func (i *Issuer) Publish() string {
	i.tb.Helper()
	k := i.newKey()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
	return k.kid
}

// Use makes the key with the given kid sign the next tokens.
func (i *Issuer) Use(kid string) {
	i.tb.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if !slices.ContainsFunc(i.keys, func(k key) bool { return k.kid == kid }) {
		i.tb.Fatalf("jwthttptest: no key %q", kid)
	}
	i.signing = kid
}

// Rotate publishes a new key, makes it sign the next tokens and returns its kid.
// Older keys stay published. A jwks.Set fetches at most once per MinInterval for
// requests: call its Refresh after each Rotate but the first, or set a short
// MinInterval.
func (i *Issuer) Rotate() string {
	i.tb.Helper()
	kid := i.Publish()
	i.Use(kid)
	return kid
}

// Withdraw removes a key from the key set. If it is the current key, it still
// signs tokens.
func (i *Issuer) Withdraw(kid string) {
	i.tb.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	n := slices.IndexFunc(i.keys, func(k key) bool { return k.kid == kid })
	if n < 0 {
		i.tb.Fatalf("jwthttptest: no key %q", kid)
	}
	i.keys[n].withdrawn = true
}

// KeyID returns the kid of the current key, which signs tokens.
func (i *Issuer) KeyID() string { return i.current().kid }

// Down makes every answer a 503, or ends that.
func (i *Issuer) Down(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Slow delays every answer by d.
func (i *Issuer) Slow(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.slow = d
}

// Answer makes h answer requests for the key set. If h is nil, the key set is
// served again.
func (i *Issuer) Answer(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

// Fetches returns the number of requests for the key set so far, failed or not.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// ServeHTTP serves the key set and the discovery document.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	if r.URL.Path == keySetPath {
		i.fetches++
	}
	down, slow, answer := i.down, i.slow, i.answer
	i.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case r.URL.Path == keySetPath && answer != nil:
		answer(w, r)
	case r.URL.Path == keySetPath:
		_, _ = w.Write(i.keySet())
	case r.URL.Path == discoveryPath:
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.name, "jwks_uri": i.KeySetURL(), "id_token_signing_alg_values_supported": []string{i.method.Alg()},
		})
	default:
		http.NotFound(w, r)
	}
}

// keySet returns the key set as JSON. Secrets are left out.
func (i *Issuer) keySet() []byte {
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for _, k := range i.published() {
		made, err := jwkset.NewJWKFromKey(k.public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
			KID: k.kid, USE: jwkset.UseSig,
		}})
		if err == nil {
			key := made.Marshal()
			key.ALG = jwkset.ALG(i.method.Alg()) // jwkset knows Ed25519 keys as EdDSA only
			set.Keys = append(set.Keys, key)
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		i.tb.Errorf("jwthttptest: key set: %v", err)
	}
	return text
}

// Client returns a client whose requests are all answered by i, without the
// network.
func (i *Issuer) Client() *http.Client { return &http.Client{Transport: transport{i}} }

type transport struct{ issuer *Issuer }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	t.issuer.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (i *Issuer) published() []key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(i.keys), func(k key) bool { return k.withdrawn })
}

func (i *Issuer) current() key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[slices.IndexFunc(i.keys, func(k key) bool { return k.kid == i.signing })]
}

func (i *Issuer) newKey() key {
	i.tb.Helper()
	private, err := generate(i.method)
	if err != nil {
		i.tb.Fatalf("jwthttptest: key: %v", err)
	}
	k := key{kid: rand.Text(), private: private, public: private}
	if signer, ok := private.(crypto.Signer); ok {
		k.public = signer.Public()
	}
	return k
}

func generate(method jwt.SigningMethod) (any, error) {
	switch m := method.(type) {
	case *jwt.SigningMethodHMAC:
		secret := make([]byte, m.Hash.Size())
		_, err := rand.Read(secret)
		return secret, err
	case *jwt.SigningMethodECDSA:
		return ecdsa.GenerateKey(map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[m.CurveBits], rand.Reader)
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		return rsa.GenerateKey(rand.Reader, 2048)
	default: // EdDSA and Ed25519
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
}
