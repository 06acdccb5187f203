package main

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"github.com/seed450a7203/jwthttp"
)

// Only these algorithms are accepted; the header of a cookie cannot choose others.
// The shared key encrypts the content directly, with AES-GCM. Because its nonces
// are random, a key must be replaced long before it has encrypted 2^32 cookies
// (NIST SP 800-38D §8.3).
const (
	keyAlgorithm     = jose.DIRECT
	contentAlgorithm = jose.A256GCM
)

// maxSealed is the size of cookie that every browser keeps (RFC 6265 §6.1).
// jwthttp.Options.MaxTokenSize limits the decrypted token.
const maxSealed = 4096

// sealer encrypts and decrypts signed tokens.
type sealer struct {
	mu   sync.RWMutex
	keys jose.JSONWebKeySet // the first key encrypts, all decrypt; the slice is never modified
}

func newSealer() *sealer {
	s := &sealer{}
	s.rotate()
	return s
}

// rotate adds a key, which encrypts from now on. Only the previous key still
// decrypts, so rotate at most once in the lifetime of a token.
func (s *sealer) rotate() {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := []jose.JSONWebKey{{KeyID: rand.Text(), Key: secret}}
	s.keys.Keys = append(keys, s.keys.Keys[:min(1, len(s.keys.Keys))]...)
}

func (s *sealer) current() jose.JSONWebKeySet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys
}

// seal encrypts a signed token. RFC 7519 §11.2: sign first, then encrypt.
func (s *sealer) seal(token string) (string, error) {
	encrypter, err := jose.NewEncrypter(contentAlgorithm,
		jose.Recipient{Algorithm: keyAlgorithm, Key: s.current().Keys[0]}, // sets the kid, too
		(&jose.EncrypterOptions{}).WithContentType("JWT"))                 // RFC 7519 §5.2
	if err != nil {
		return "", err
	}
	object, err := encrypter.Encrypt([]byte(token))
	if err != nil {
		return "", err
	}
	sealed, err := object.CompactSerialize()
	if len(sealed) > maxSealed {
		return "", errTooLong
	}
	return sealed, err
}

// Causes for the log. The client gets the same answer for all of them.
var (
	errTooLong   = errors.New("cookie too long")
	errNoJWE     = errors.New("cookie is not a compact JWE of the accepted algorithms")
	errNoJWT     = errors.New("cookie is compressed, or its content is not a JWT")
	errNotOpened = errors.New("cookie does not decrypt")
)

// open decrypts a cookie of seal. A signed token that was not encrypted is an
// error, too.
func (s *sealer) open(sealed string) (string, error) {
	if len(sealed) > maxSealed {
		return "", errTooLong
	}
	object, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{keyAlgorithm}, []jose.ContentEncryption{contentAlgorithm})
	// RFC 7516 §5.2 step 10: with a direct key the encrypted key must be empty,
	// which go-jose does not check.
	if _, rest, _ := strings.Cut(sealed, "."); err != nil || !strings.HasPrefix(rest, ".") {
		return "", errNoJWE
	}
	// Reject compressed content before decrypting it: go-jose would decompress up
	// to 250 kB, and the length of compressed content depends on what it says.
	_, compressed := object.Header.ExtraHeaders["zip"]
	if compressed || object.Header.ExtraHeaders[jose.HeaderContentType] != "JWT" {
		return "", errNoJWT
	}
	token, err := object.Decrypt(s.current()) // by kid
	if err != nil || len(token) == 0 {        // an empty token would count as no cookie
		return "", errNotOpened
	}
	return string(token), nil
}

// extractor returns an Extractor that decrypts a cookie. The Credential keeps its
// Source, so cross-origin requests are rejected. jwthttp verifies the decrypted
// token like any other.
func (s *sealer) extractor(name string) jwthttp.Extractor {
	cookie := jwthttp.FromCookie(name)
	return func(r *http.Request) (jwthttp.Credential, error) {
		c, err := cookie(r)
		if err == nil && c.Token != "" {
			c.Token, err = s.open(c.Token)
		}
		return c, err
	}
}
