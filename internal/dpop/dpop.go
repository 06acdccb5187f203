// Package dpop checks DPoP proofs (RFC 9449 §4.3): the parser of a proof, the
// comparison of its URL with the request's, and nonces. It knows nothing of
// requests and tokens.
package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Limits in bytes.
const (
	maxProof = 4 << 10
	maxID    = 256
)

// Errors about a token and its proof. None of them quotes one.
var (
	ErrOtherToken = errors.New(`"ath" of the proof is not the hash of the token`)
	ErrOtherKey   = errors.New(`the proof was made by another key than the token's ("jkt")`)
	ErrNoProof    = errors.New(`token is bound to a key ("jkt"), and did not come with a DPoP proof`)
	ErrUnbound    = errors.New("no key is proved that the token is bound to")
	ErrNonce      = errors.New("nonce of the proof is missing or not valid")
	ErrLate       = errors.New("checks have taken so long that the proof is too old")
	ErrReplayed   = errors.New("proof was used before")
)

// Errors of Parse and Finish. None of them quotes more of the proof than its URL.
var (
	errCount     = errors.New("want one DPoP field")
	errSize      = fmt.Errorf("proof has more than %d bytes", maxProof)
	errType      = errors.New(`"typ" is not "dpop+jwt"`)
	errAlgorithm = errors.New(`"alg" is not accepted for proofs`)
	errKey       = errors.New(`"jwk" is missing or not an object`)
	errClaim     = errors.New("claim is missing or of the wrong type")
	errID        = fmt.Errorf(`"jti" is missing, or not text of 1 to %d bytes`, maxID)
	errMethod    = errors.New(`"htm" is not the method of the request`)
	errURL       = errors.New(`"htu" is not the URL of the request`)
	errDates     = errors.New(`"iat" is missing, or a date is of the wrong type or out of range`)
	errSignature = errors.New("invalid signature")
)

// Rules are what the proofs of a server must meet. They are immutable.
type Rules struct {
	Bases          []Target // what clients put before the path of a request
	Algorithms     map[string]jwt.SigningMethod
	AlgorithmList  string  // separated by spaces, for challenges
	Nonces         *Nonces // nil: none
	MaxAge, Leeway time.Duration
}

// Proof is a proof that meets the Rules. Finish verifies its signature.
type Proof struct {
	KeyThumbprint string // RFC 7638
	Nonce         string // "nonce", or empty

	method      jwt.SigningMethod
	key         any
	signed      string
	signature   []byte
	id          string
	accessToken string // "ath"
	issuedAt    time.Time
}

var proofTypes = []string{"dpop+jwt"}

// Indexes of the additional header parameter, and of the claims.
var (
	headerNames = strictjson.NewNames(append(jws.HeaderNames(), "jwk"), nil)
	claimNames  = strictjson.NewNames([]string{"jti", "htm", "htu", "iat", "exp", "nbf", "ath", "nonce"}, nil)
)

const (
	claimJti = iota
	claimHtm
	claimHtu
	claimIat
	claimExp
	claimNbf
	claimAth
	claimNonce
	claims
)

// Parse reads the only value of the DPoP field and checks everything that needs
// neither the token nor cryptography, for a request with this method and target
// (RFC 9112 §3.2).
func (r *Rules) Parse(fields []string, method, target string) (*Proof, error) {
	if len(fields) != 1 {
		return nil, fmt.Errorf("%w, have %d", errCount, len(fields))
	}
	if len(fields[0]) > maxProof {
		return nil, errSize
	}
	var header [8]strictjson.Value
	token, err := jws.ParseHeader(fields[0], false, headerNames, header[:])
	if err != nil {
		return nil, err
	}
	p := &Proof{method: r.Algorithms[token.Algorithm], signed: token.Signed, signature: token.Signature}
	switch {
	case !syntax.ContainsMediaType(proofTypes, token.Type):
		return nil, errType
	case p.method == nil:
		return nil, errAlgorithm
	case header[7].Kind != strictjson.Object:
		return nil, errKey
	}
	public, err := jwk.ParsePublic(header[7])
	if err != nil {
		return nil, err
	}
	if err := public.Fits(p.method); err != nil {
		return nil, err
	}
	p.key, p.KeyThumbprint = public.Key, public.Thumbprint
	return p, r.readClaims(p, token.Payload, method, target)
}

func (r *Rules) readClaims(p *Proof, payload, method, target string) error {
	var values [claims]strictjson.Value
	if err := strictjson.Parse(payload, claimNames, values[:]); err != nil {
		return err
	}
	var ok bool
	if p.id, ok = values[claimJti].Unquote(); !ok || p.id == "" || len(p.id) > maxID {
		return errID
	}
	if htm, ok := values[claimHtm].Unquote(); !ok || htm != method {
		return errMethod
	}
	if htu, ok := values[claimHtu].Unquote(); !ok || !r.matches(htu, target) {
		return wrongURL(htu)
	}
	if p.accessToken, ok = values[claimAth].Unquote(); !ok {
		return fmt.Errorf("ath: %w", errClaim)
	}
	if nonce := values[claimNonce]; nonce.Kind != strictjson.Absent {
		if p.Nonce, ok = nonce.Unquote(); !ok {
			return fmt.Errorf("nonce: %w", errClaim)
		}
	}
	return r.checkDates(p, &values)
}

// checkDates applies "iat" as RFC 9449 §11.1 wants it, and "exp" and "nbf", which
// a proof need not have.
func (r *Rules) checkDates(p *Proof, values *[claims]strictjson.Value) error {
	iat, ok := jws.NumericDate(values[claimIat])
	exp, ok2 := jws.NumericDate(values[claimExp])
	nbf, ok3 := jws.NumericDate(values[claimNbf])
	if !ok || !ok2 || !ok3 || iat.IsZero() {
		return errDates
	}
	p.issuedAt = iat
	switch now := time.Now(); {
	case now.Sub(iat) > r.MaxAge:
		return fmt.Errorf("proof was made %v ago, want at most %v", now.Sub(iat), r.MaxAge)
	case iat.After(now.Add(r.Leeway)):
		return fmt.Errorf("proof was made %v in the future, leeway %v", iat.Sub(now), r.Leeway)
	case nbf.After(now.Add(r.Leeway)):
		return fmt.Errorf("proof is valid in %v, leeway %v", nbf.Sub(now), r.Leeway)
	case !exp.IsZero() && !exp.After(now):
		return fmt.Errorf("proof expired %v ago", now.Sub(exp))
	}
	return nil
}

// matches reports whether a client that sends a request with this target may have
// used htu as its URL.
func (r *Rules) matches(htu, target string) bool {
	url, ok := ParseTarget(htu)
	path, ok2 := pathOf(target)
	if !ok || !ok2 {
		return false
	}
	for _, base := range r.Bases {
		if base.hasPath(url, path) {
			return true
		}
	}
	return false
}

// wrongURL names the URL for logs, since it shows which base is missing. It leaves
// out the query, which may have a secret.
func wrongURL(htu string) error {
	url, ok := ParseTarget(htu)
	if !ok {
		return errURL
	}
	return fmt.Errorf("%w, but %s", errURL, jws.Quoted(url.String()))
}

// IsFor reports whether the proof was made for an access token (RFC 9449 §4.3,
// number 12).
func (p *Proof) IsFor(token string) bool {
	hash := sha256.Sum256([]byte(token))
	var text [43]byte
	base64.RawURLEncoding.Encode(text[:], hash[:])
	return p.accessToken == string(text[:])
}

// Finish checks what is left of a proof once the token is known to be good: the
// nonce, with ErrNonce, and the signature. It returns the nonce that the client
// should use next, if it does not yet.
func (r *Rules) Finish(p *Proof) (newNonce string, err error) {
	if r.Nonces != nil {
		valid, newest := r.Nonces.Check(p.Nonce)
		if !valid {
			return "", ErrNonce
		}
		if !newest {
			newNonce = r.Nonces.Newest()
		}
	}
	if p.method.Verify(p.signed, p.signature, p.key) != nil {
		return "", errSignature
	}
	return newNonce, nil
}

// ReplayID identifies the proof. Two clients may use the same "jti".
func (p *Proof) ReplayID() string {
	hash := sha256.New()
	hash.Write([]byte(p.KeyThumbprint))
	hash.Write([]byte{0})
	hash.Write([]byte(p.id))
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16])
}

// minSlack is how long a proof is remembered at least after its MaxAge, for requests
// that were read before and still wait for keys.
const minSlack = 20 * time.Second

// ReplayUntil returns when no server with the same rules accepts the proof any
// more, if their clocks differ by up to twice the leeway.
func (r *Rules) ReplayUntil(p *Proof) time.Time {
	return p.issuedAt.Add(r.MaxAge + max(2*r.Leeway, minSlack))
}
