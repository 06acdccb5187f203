package jwks

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/clock"
	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/keyset"
)

// keys is one good key set. It is immutable.
type keys struct {
	byName     map[keyName]candidates
	usable     []usableKey
	passedOver []passedOver
	began      clock.Moment  // when its fetch began
	maxAge     time.Duration // 0: the server did not say
}

// keyName selects keys: by "kid" and "alg", or by "alg" alone if kid is empty.
type keyName struct{ kid, alg string }

// candidates are the keys of one keyName.
type candidates struct {
	free  []jwt.VerificationKey // for tokens of any issuer; at most jwk.MaxKeys
	bound []boundKey
}

// boundKey verifies only tokens of one issuer (Entra ID).
type boundKey struct {
	key    jwt.VerificationKey
	issuer string // "{tenantid}" stands for the token's "tid"
}

// usableKey is a key in use.
type usableKey struct {
	marshal jwkset.JWKMarshal
	key     any
	issuer  *string
}

// passedOver is a key that is not used. It never holds key material.
type passedOver struct{ name, reason string }

// parseKeys parses a JWK Set, or an object that maps key IDs to PEM blocks.
func parseKeys(body []byte) (*keys, error) {
	var members map[string]json.RawMessage
	if unmarshal(body, &members) != nil {
		return nil, errors.New("not a JSON object")
	}
	set := &keys{byName: make(map[keyName]candidates)}
	var list []json.RawMessage
	switch text := members["keys"]; {
	case len(text) > 0 && text[0] != '"':
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, errors.New(`"keys" is not an array`)
		}
		for i, text := range list {
			set.addJWK(i, text)
		}
	case !slices.ContainsFunc(slices.Collect(maps.Values(members)), isPEM):
		return nil, errors.New("neither a JWK Set nor a map of key IDs to PEM blocks")
	default:
		for i, kid := range slices.Sorted(maps.Keys(members)) {
			set.addPEM(i, kid, members[kid])
		}
	}
	if len(set.usable) == 0 {
		return nil, fmt.Errorf("no usable key%s", listPassedOver(set.passedOver))
	}
	return set, nil
}

// unmarshal is [json.Unmarshal] of a document that may begin with a byte order
// mark, as some editors and static file servers write it (RFC 8259 §8.1).
func unmarshal(document []byte, v any) error {
	return json.Unmarshal(bytes.TrimPrefix(document, []byte("\ufeff")), v)
}

// addJWK adds a JWK, or notes why it is passed over.
func (s *keys) addJWK(index int, text json.RawMessage) {
	var parsed struct {
		jwkset.JWKMarshal
		Issuer *string `json:"issuer"`
		// The key is in n, x and y. Certificates are not checked and never
		// fetched, so these members may have any type.
		X5U     json.RawMessage `json:"x5u"`
		X5C     json.RawMessage `json:"x5c"`
		X5T     json.RawMessage `json:"x5t"`
		X5TS256 json.RawMessage `json:"x5t#S256"`
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		reason := "not a JWK"
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
			reason = fmt.Sprintf("member %.20q has the wrong type", strings.TrimPrefix(wrong.Field, "JWKMarshal."))
		}
		s.pass(index, parsed.KID, reason)
		return
	}
	if reason := unsuitable(parsed.JWKMarshal); reason != "" {
		s.pass(index, parsed.KID, reason)
		return
	}
	key, err := publicKey(parsed.JWKMarshal)
	if err != nil {
		// The library's text is left out: it may quote the key.
		s.pass(index, parsed.KID, "invalid key")
		return
	}
	s.add(index, usableKey{parsed.JWKMarshal, key.Key(), parsed.Issuer})
}

// unsuitable returns why a JWK is not a public key for signatures, or "".
func unsuitable(m jwkset.JWKMarshal) string {
	switch {
	case m.KTY == jwkset.KtyOct || m.K != "":
		return "symmetric key"
	case m.D != "" || m.P != "" || m.Q != "" || m.DP != "" || m.DQ != "" || m.QI != "" || m.OTH != nil:
		return "private key" // everyone who can read the set can sign with it
	case m.USE != "" && m.USE != jwkset.UseSig && m.USE != "jwt-svid": // RFC 7517 §4.2; SPIFFE Trust Domain and Bundle §4.2.2
		return fmt.Sprintf("use %+.20q", m.USE)
	case m.KEYOPS != nil && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify): // RFC 7517 §4.3
		return `key_ops without "verify"`
	case !slices.Contains([]jwkset.KTY{jwkset.KtyRSA, jwkset.KtyEC, jwkset.KtyOKP}, m.KTY):
		return fmt.Sprintf("kty %+.20q is not supported", m.KTY)
	case m.KTY != jwkset.KtyRSA && !slices.Contains([]jwkset.CRV{jwkset.CrvP256, jwkset.CrvP384, jwkset.CrvP521, jwkset.CrvEd25519}, m.CRV):
		return fmt.Sprintf("crv %+.20q is not supported", m.CRV)
	case m.ALG != "" && !slices.ContainsFunc(jwk.PublicKeyAlgorithms(), func(alg string) bool { return jwk.SameAlgorithm(alg, string(m.ALG)) }):
		return fmt.Sprintf("alg %+.20q is not supported", m.ALG)
	}
	return ""
}

// publicKey returns a JWK of a new public key that shares no memory with others.
func publicKey(m jwkset.JWKMarshal) (jwkset.JWK, error) {
	return jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipAll: true})
}

// isPEM reports whether a JSON value is a string with a PEM block.
func isPEM(text json.RawMessage) bool {
	var s string
	return json.Unmarshal(text, &s) == nil && strings.Contains(s, "-----BEGIN ")
}

// addPEM adds a certificate's key or a public key, or notes why it is passed over.
func (s *keys) addPEM(index int, kid string, text json.RawMessage) {
	var block string
	_ = json.Unmarshal(text, &block) // not a string: not a PEM block
	key, err := parsePEM([]byte(block))
	if err != nil {
		s.pass(index, kid, err.Error())
		return
	}
	made, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		s.pass(index, kid, "unsupported key")
		return
	}
	s.add(index, usableKey{made.Marshal(), key, nil})
}

// parsePEM returns the public key of the one PEM block in text. Its errors are
// fixed texts.
func parsePEM(text []byte) (any, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a PEM block")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("more than one PEM block")
	}
	var key any
	var err error
	switch block.Type {
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("PEM block is a %+.30q, want a certificate or public key", block.Type)
	}
	if err != nil || key == nil {
		return nil, errors.New("invalid key")
	}
	return key, nil
}

// add adds a key for every algorithm that it fits, or notes that it fits none.
func (s *keys) add(index int, k usableKey) {
	var misfit error
	fits := false
	for _, alg := range jwk.PublicKeyAlgorithms() {
		// RFC 7517 §4.4: a key that names an algorithm is for no other.
		if k.marshal.ALG != "" && !jwk.SameAlgorithm(alg, string(k.marshal.ALG)) {
			continue
		}
		if err := jwk.Fits(jwk.Method(alg), k.key); err != nil {
			if misfit == nil {
				misfit = err
			}
			continue
		}
		fits = true
		for _, name := range slices.Compact([]keyName{{"", alg}, {k.marshal.KID, alg}}) {
			s.byName[name] = s.byName[name].with(k)
		}
	}
	if !fits {
		s.pass(index, k.marshal.KID, describeMisfit(k, misfit))
		return
	}
	s.usable = append(s.usable, k)
}

// describeMisfit returns why a key fits no algorithm. For a key without "alg"
// that is not only the first algorithm that it does not fit.
func describeMisfit(k usableKey, first error) string {
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		if k.marshal.ALG == "" {
			return "curve " + key.Curve.Params().Name + " is not supported"
		}
	case *ecdh.PublicKey:
		return "for key agreement only"
	}
	return first.Error()
}

// with returns c with k added.
func (c candidates) with(k usableKey) candidates {
	switch {
	case k.issuer != nil:
		c.bound = append(c.bound, boundKey{k.key, *k.issuer})
	case len(c.free) < jwk.MaxKeys:
		c.free = append(c.free, k.key)
	}
	return c
}

func (s *keys) pass(index int, kid, reason string) {
	name := fmt.Sprintf("%+.40q", kid)
	if kid == "" {
		name = fmt.Sprintf("#%d", index+1)
	}
	s.passedOver = append(s.passedOver, passedOver{name, fmt.Sprintf("%.100s", reason)})
}

// find returns the keys for a token, at most jwk.MaxKeys. The result must not
// be changed. A nil s has no keys.
func (s *keys) find(q keyset.Query) []jwt.VerificationKey {
	if s == nil || q.HasKeyID && q.KeyID == "" {
		return nil
	}
	found := s.byName[keyName{q.KeyID, q.Algorithm}]
	if len(found.bound) == 0 {
		return found.free
	}
	var list []jwt.VerificationKey
	for _, k := range found.bound {
		if len(list) < jwk.MaxKeys && matchesIssuer(k.issuer, q) {
			list = append(list, k.key)
		}
	}
	return append(list, found.free[:min(len(found.free), jwk.MaxKeys-len(list))]...)
}

// matchesIssuer reports whether a key whose JWK has the member "issuer" may
// verify a token. Without this check, whoever runs one tenant of Entra ID could
// sign for every other one.
func matchesIssuer(template string, q keyset.Query) bool {
	const placeholder = "{tenantid}"
	if strings.Contains(template, placeholder) {
		// "tid" must not change the meaning of the URL it is put into.
		if q.TenantID == "" || q.TenantID == "." || q.TenantID == ".." || strings.ContainsAny(q.TenantID, `/\{}`) {
			return false
		}
		template = strings.ReplaceAll(template, placeholder, q.TenantID)
	}
	return template != "" && template == q.Issuer
}

// unknown returns the error for a token that no key is for.
func (s *keys) unknown(q keyset.Query) error {
	if !q.HasKeyID {
		return fmt.Errorf("jwks: no key for a token without kid and with alg %+.20q%s", q.Algorithm, listPassedOver(s.passedOver))
	}
	var reasons []passedOver
	for _, k := range s.usable {
		if k.marshal.KID != q.KeyID || k.marshal.KID == "" {
			continue
		}
		name := fmt.Sprintf("%+.40q", k.marshal.KID)
		if k.issuer != nil && len(s.byName[keyName{q.KeyID, q.Algorithm}].bound) > 0 {
			reasons = append(reasons, passedOver{name, fmt.Sprintf("only for tokens of issuer %+.100q", *k.issuer)})
		} else {
			reasons = append(reasons, passedOver{name, "not for this alg"})
		}
	}
	name := fmt.Sprintf("%+.40q", q.KeyID)
	for _, p := range s.passedOver {
		if p.name == name {
			reasons = append(reasons, p)
		}
	}
	for _, p := range s.passedOver {
		if p.name != name {
			reasons = append(reasons, p)
		}
	}
	return fmt.Errorf("jwks: no key for kid %+.40q and alg %+.20q%s", q.KeyID, q.Algorithm, listPassedOver(reasons))
}

// listPassedOver lists keys and why they are not used. Its length is bounded.
func listPassedOver(list []passedOver) string {
	const shown = 8
	var b strings.Builder
	for i, p := range list {
		switch {
		case i == shown:
			fmt.Fprintf(&b, " and %d more", len(list)-shown)
			return b.String()
		case i == 0:
			b.WriteString("; not usable:")
		default:
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s (%s)", p.name, p.reason)
	}
	return b.String()
}
