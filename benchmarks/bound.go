package benchmarks

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	auth0v3 "github.com/auth0/go-jwt-middleware/v3"
	validatorv3 "github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/dpop"
	"github.com/seed450a7203/jwthttp/internal/problems"
	"github.com/seed450a7203/jwthttp/internal/replay"
)

// Names of the handlers of Bound. All but the last are jwthttp.
const (
	BoundBearer    = "no binding"
	BoundTLS       = "mutual TLS"
	BoundDPoP      = "DPoP"
	BoundNonce     = "DPoP and nonce"
	BoundRedis     = "DPoP, nonce and Redis"
	BoundSignature = "signature of the proof alone"
	BoundProof     = "proof without its signature"
	BoundAuth0     = "auth0-v3 DPoP"
)

// BoundAlgorithms are the algorithms of tokens and proofs of Bound.
func BoundAlgorithms() []string { return []string{"ES256", "EdDSA"} }

// BoundHandler serves prepared requests instead of those it gets, each of them
// with another proof.
type BoundHandler struct {
	Name string
	http.Handler
}

// proofs is how many are prepared. Then the replay cache is replaced, and they
// are used again.
const proofs = 512

// boundURL is on loopback: auth0-v3 takes the URL from the request, which has no
// TLS here.
const boundURL = "http://localhost/"

// Bound returns handlers for requests with tokens that are bound to a key, with the
// algorithm of f for tokens and proofs. They work for a minute. A nil client leaves
// out BoundRedis.
func Bound(f *Fixture, next http.Handler, client redis.UniversalClient) ([]BoundHandler, error) {
	prover, err := NewFixture(f.Alg) // the key pair of the client
	if err != nil {
		return nil, err
	}
	jwk, thumbprint, err := publicJWK(prover.Verifying)
	if err != nil {
		return nil, err
	}
	certificate := []byte("any bytes")
	tokens := map[string]string{}
	for name, cnf := range map[string]map[string]string{
		BoundBearer: nil, BoundTLS: {"x5t#S256": hashOf(string(certificate))}, BoundDPoP: {"jkt": thumbprint},
	} {
		claims := payload()
		if cnf != nil {
			claims["cnf"] = cnf
		}
		if tokens[name], err = sign(f.method, f.signing, claims); err != nil {
			return nil, err
		}
	}
	b := &bound{f: f, client: prover, jwk: jwk, tokens: tokens, next: next}
	adds := []func() (BoundHandler, error){
		func() (BoundHandler, error) { return b.withoutProof(BoundBearer, nil) },
		func() (BoundHandler, error) { return b.withoutProof(BoundTLS, certificate) },
		func() (BoundHandler, error) { return b.ours(BoundDPoP, nil) },
		func() (BoundHandler, error) { return b.ours(BoundNonce, [][]byte{make([]byte, 32)}) },
		b.signature, b.besideSignature, b.auth0,
	}
	if client != nil {
		adds = append(adds, func() (BoundHandler, error) { return b.redis(client) })
	}
	var handlers []BoundHandler
	for _, add := range adds {
		h, err := add()
		if err != nil {
			return nil, err
		}
		handlers = append(handlers, h)
	}
	return handlers, nil
}

// bound is what the handlers of Bound are made of.
type bound struct {
	f, client *Fixture
	jwk       map[string]string
	tokens    map[string]string
	next      http.Handler
}

func (b *bound) withoutProof(name string, certificate []byte) (BoundHandler, error) {
	h, err := GuardOurs[Claims](OurOptions(b.f), b.next)
	r := RequestWith(b.tokens[name])
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: certificate}}}
	return BoundHandler{name, inTurn(h, []*http.Request{r}, func() {})}, err
}

func (b *bound) ours(name string, secrets [][]byte) (BoundHandler, error) {
	return b.withProofs(name, secrets, func() jwthttp.ReplayFunc { return jwthttp.NewReplayCache(1 << 19).Fresh })
}

// withProofs calls newReplay whenever the proofs are used again.
func (b *bound) withProofs(name string, secrets [][]byte, newReplay func() jwthttp.ReplayFunc) (BoundHandler, error) {
	fresh := newReplay()
	o := OurOptions(b.f)
	o.DPoP = &jwthttp.DPoP{BaseURLs: []string{"http://localhost"}, NonceSecrets: secrets,
		Replay: func(ctx context.Context, id string, until time.Time) (bool, error) { return fresh(ctx, id, until) }}
	h, err := GuardOurs[Claims](o, b.next)
	if err != nil {
		return BoundHandler{}, err
	}
	var w Discard
	w.Reset()
	h.ServeHTTP(&w, b.request("no proof"))
	requests, err := b.requests(w.Header().Get("DPoP-Nonce"))
	return BoundHandler{name, inTurn(h, requests, func() { fresh = newReplay() })}, err
}

func (b *bound) auth0() (BoundHandler, error) {
	h, err := b.auth0Guard()
	if err != nil {
		return BoundHandler{}, err
	}
	requests, err := b.requests("")
	return BoundHandler{BoundAuth0, inTurn(h, requests, func() {})}, err
}

func (b *bound) auth0Guard() (http.Handler, error) {
	v, err := auth0V3Validator(b.f)
	if err != nil {
		return nil, err
	}
	m, err := auth0v3.New(auth0v3.WithValidator(v), auth0v3.WithDPoPMode(auth0v3.DPoPRequired))
	if err != nil {
		return nil, err
	}
	return m.CheckJWT(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := auth0v3.MustGetClaims[*validatorv3.ValidatedClaims](r.Context())
		expect(claims.CustomClaims.(*ownClaims).Role, role, b.next, w, r)
	})), nil
}

// signature verifies one proof and nothing else.
func (b *bound) signature() (BoundHandler, error) {
	proof, err := b.proof("")
	if err != nil {
		return BoundHandler{}, err
	}
	dot := strings.LastIndexByte(proof, '.')
	signature, err := jwt.NewParser().DecodeSegment(proof[dot+1:])
	return BoundHandler{BoundSignature, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := b.client.method.Verify(proof[:dot], signature, b.client.Verifying); err != nil {
			panic(err)
		}
		b.next.ServeHTTP(w, r)
	})}, err
}

// besideSignature does what jwthttp does for a proof, but does not verify it:
// parsing, the thumbprint, the hash of the token, the nonce and the replay cache.
func (b *bound) besideSignature() (BoundHandler, error) {
	p := problems.List{}
	rules := dpop.NewRules(&p, dpop.Settings{BaseURLs: []string{"http://localhost"}, NonceSecrets: [][]byte{make([]byte, 32)}})
	if err := p.Err(); err != nil {
		return BoundHandler{}, err
	}
	requests, err := b.requests(rules.Nonces.Newest())
	cache := jwthttp.NewReplayCache(1 << 19)
	check := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proof, err := rules.Parse(r.Header["Dpop"], r.Method, r.RequestURI)
		if err != nil || !proof.IsFor(b.tokens[BoundDPoP]) {
			panic("proof is not accepted")
		}
		valid, _ := rules.Nonces.Check(proof.Nonce)
		ctx := replay.WithOwners(r.Context(), replay.Owners{proof.KeyThumbprint, IssuerName + "\x00" + subject})
		if fresh, err := cache.Fresh(ctx, proof.ReplayID(), rules.ReplayUntil(proof)); !valid || !fresh || err != nil {
			panic("proof is not accepted")
		}
		b.next.ServeHTTP(w, r)
	})
	return BoundHandler{BoundProof, inTurn(check, requests, func() { cache = jwthttp.NewReplayCache(1 << 19) })}, err
}

// inTurn serves one request after the other, and calls again before the first.
func inTurn(h http.Handler, requests []*http.Request, again func()) http.Handler {
	i := 0
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i == len(requests) {
			again()
			i = 0
		}
		h.ServeHTTP(w, requests[i])
		i++
	})
}

func (b *bound) requests(nonce string) (list []*http.Request, err error) {
	for range proofs {
		proof, err := b.proof(nonce)
		if err != nil {
			return nil, err
		}
		list = append(list, b.request(proof))
	}
	return list, nil
}

func (b *bound) request(proof string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, boundURL, nil)
	r.RequestURI = "/"
	r.Header.Set("Authorization", "DPoP "+b.tokens[BoundDPoP])
	r.Header.Set("DPoP", proof)
	return r
}

func (b *bound) proof(nonce string) (string, error) {
	claims := jwt.MapClaims{"jti": rand.Text(), "htm": http.MethodGet, "htu": boundURL, "iat": time.Now().Unix(), "ath": hashOf(b.tokens[BoundDPoP])}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	token := jwt.NewWithClaims(b.client.method, claims)
	token.Header["typ"], token.Header["jwk"] = "dpop+jwt", b.jwk
	return token.SignedString(b.client.signing)
}

// publicJWK returns a key as a JWK, and its thumbprint.
func publicJWK(key any) (jwk map[string]string, thumbprint string, err error) {
	encode := base64.RawURLEncoding.EncodeToString
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil, "", err
		}
		jwk = map[string]string{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
	case ed25519.PublicKey:
		jwk = map[string]string{"kty": "OKP", "crv": "Ed25519", "x": encode(k)}
	default:
		return nil, "", fmt.Errorf("no JWK for %T", key)
	}
	text, err := json.Marshal(jwk) // in the order of RFC 7638
	return jwk, hashOf(string(text)), err
}

func hashOf(text string) string {
	hash := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
