// Package jwthttptest has an issuer of tokens for tests: it signs good tokens
// and bad ones, serves its key set and discovery document, and misbehaves on
// demand.
//
//	func TestMyAPI(t *testing.T) {
//		issuer := jwthttptest.New(t, "ES256")
//		api := newAPI(issuer.Trusted())
//		call(api, issuer.Token(map[string]any{"sub": "alice", "role": "editor"})) // 200
//		call(api, issuer.Expired(nil))                                             // 401
//	}
//
// A failure of the kit itself ends the test.
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
)

// Audience is the "aud" of tokens whose claims have none.
const Audience = "https://api.test"

// Paths of what an Issuer serves.
const (
	keySetPath    = "/keys"
	discoveryPath = "/.well-known/openid-configuration"
)

// Issuer signs tokens and serves the keys to verify them with. [New] and
// [Start] make one. It is safe for concurrent use.
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
	public    any // for verifying; with HMAC the same
	withdrawn bool
}

// New returns an issuer named "https://issuer.test" with one key for the given
// algorithm. Nothing listens there: [Issuer.Client] reaches it without the
// network, and so inside a bubble of testing/synctest too.
func New(tb testing.TB, algorithm string) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb, name: "https://issuer.test", method: jwt.GetSigningMethod(algorithm)}
	if i.method == nil || algorithm == "none" {
		tb.Fatalf("jwthttptest: %q: golang-jwt has no such algorithm", algorithm)
	}
	i.Rotate()
	return i
}

// Start is New with a server on a free port of loopback, by whose URL the
// issuer is named. It ends with the test.
func Start(tb testing.TB, algorithm string) *Issuer {
	tb.Helper()
	i := New(tb, algorithm)
	server := httptest.NewUnstartedServer(i)
	i.name = "http://" + server.Listener.Addr().String() // before the first request reads it
	server.Start()
	tb.Cleanup(server.Close)
	return i
}

// Name is the "iss" of the tokens, and what jwthttp.DiscoverJWKS takes.
func (i *Issuer) Name() string { return i.name }

// KeySetURL is what jwthttp.NewJWKS takes.
func (i *Issuer) KeySetURL() string { return i.name + keySetPath }

// Trusted returns what accepts the issuer's tokens, by the keys that are
// published at the moment of each request. No HTTP is involved.
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

// Token returns a token with the given claims: anything that marshals to a JSON
// object, or nil. Where they have no iss, aud, sub, jti, iat or exp, the issuer
// fills in its name, [Audience], "alice", a random one, now, and an hour from
// now. A member that is null is left out.
func (i *Issuer) Token(claims any) string {
	i.tb.Helper()
	return i.Sign(nil, i.complete(claims, 0))
}

// Expired returns a token that was good until ten minutes ago, longer than any
// leeway.
func (i *Issuer) Expired(claims any) string {
	i.tb.Helper()
	c := i.complete(claims, -time.Hour)
	c["exp"] = time.Now().Add(-10 * time.Minute).Unix()
	return i.Sign(nil, c)
}

// NotYetValid returns a token that will be good in half an hour.
func (i *Issuer) NotYetValid(claims any) string {
	i.tb.Helper()
	c := i.complete(claims, 0)
	c["nbf"] = time.Now().Add(30 * time.Minute).Unix()
	return i.Sign(nil, c)
}

// Forged returns a token that names the issuer's key and was signed by another.
func (i *Issuer) Forged(claims any) string {
	i.tb.Helper()
	return i.sign(map[string]any{"kid": i.current().kid}, i.complete(claims, 0), i.newKey())
}

// Tampered returns a token whose claims were changed after it was signed: the
// subject is "mallory", or "eve" if it was "mallory" before.
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

// Sign signs claims as they are with the current key. The header has alg, typ
// and kid, with the given members replaced or, if nil, left out.
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
		i.tb.Fatalf("jwthttptest: claims of type %T are no JSON object: %v", claims, err)
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

// Publish adds a key to the key set and returns its kid. It signs nothing
// before [Issuer.Use].
func (i *Issuer) Publish() string {
	i.tb.Helper()
	k := i.newKey()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
	return k.kid
}

// Use makes a published key sign from now on.
func (i *Issuer) Use(kid string) {
	i.tb.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if !slices.ContainsFunc(i.keys, func(k key) bool { return k.kid == kid }) {
		i.tb.Fatalf("jwthttptest: no key %q", kid)
	}
	i.signing = kid
}

// Rotate publishes a new key and signs with it at once. The older ones stay
// published. It returns the new kid. A JWKS fetches at most once in MinInterval
// for the sake of requests: call its Refresh after each Rotate but the first,
// or make MinInterval short.
func (i *Issuer) Rotate() string {
	i.tb.Helper()
	kid := i.Publish()
	i.Use(kid)
	return kid
}

// Withdraw takes a key out of the key set. It still signs, if it did before.
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

// KeyID returns the kid of the key that signs.
func (i *Issuer) KeyID() string { return i.current().kid }

// Down makes the server answer every request with 503, or lets it answer again.
func (i *Issuer) Down(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Slow makes the server wait before it answers.
func (i *Issuer) Slow(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.slow = d
}

// Answer makes h answer for the key set; nil goes back to the truth.
func (i *Issuer) Answer(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

// Fetches returns how often the key set was asked for so far, whatever the answer.
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

// keySet is the key set as JSON. A secret is in none.
func (i *Issuer) keySet() []byte {
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for _, k := range i.published() {
		jwk, err := jwkset.NewJWKFromKey(k.public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
			ALG: jwkset.ALG(i.method.Alg()), KID: k.kid, USE: jwkset.UseSig,
		}})
		if err == nil {
			set.Keys = append(set.Keys, jwk.Marshal())
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		i.tb.Errorf("jwthttptest: key set: %v", err)
	}
	return text
}

// Client returns a client for which the issuer answers every request itself,
// without the network.
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
	case *jwt.SigningMethodEd25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	default:
		return rsa.GenerateKey(rand.Reader, 2048)
	}
}
