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

// The only algorithms, of whatever a cookie's header names: the shared key
// itself encrypts, with AES-GCM. Its nonces are random, so a key must be
// replaced long before it has encrypted 2^32 cookies (NIST SP 800-38D §8.3).
const (
	keyAlgorithm     = jose.DIRECT
	contentAlgorithm = jose.A256GCM
)

// maxSealed is the size of cookie that browsers keep at least (RFC 6265 §6.1);
// jwthttp's MaxTokenSize judges what comes out of it.
const maxSealed = 4096

// sealer encrypts signed tokens, and is the jwthttp.Extractor of such cookies.
type sealer struct {
	mu   sync.RWMutex
	keys jose.JSONWebKeySet // the first encrypts, all decrypt; its slice never changes
}

func newSealer() *sealer {
	s := &sealer{}
	s.rotate()
	return s
}

// rotate makes a new key encrypt. The one before it still decrypts, so rotate
// no more often than once in the lifetime of a token.
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

// seal encrypts a signed token: a nested JWT (RFC 7519 §11.2: signed first).
func (s *sealer) seal(token string) (string, error) {
	encrypter, err := jose.NewEncrypter(contentAlgorithm,
		jose.Recipient{Algorithm: keyAlgorithm, Key: s.current().Keys[0]}, // and its kid
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
		return "", errTooLong // here, and not when it comes back
	}
	return sealed, err
}

// Causes for the log. The client is told the same about all of them.
var (
	errTooLong   = errors.New("cookie is too long")
	errNoJWE     = errors.New("cookie is no compact JWE of the algorithms accepted")
	errNoJWT     = errors.New("cookie is compressed, or its content is no JWT")
	errNotOpened = errors.New("cookie does not decrypt")
)

// open decrypts what seal has made. A signed token that was not encrypted is
// refused like any other junk: it must never be passed on as it is.
func (s *sealer) open(sealed string) (string, error) {
	if len(sealed) > maxSealed {
		return "", errTooLong
	}
	object, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{keyAlgorithm}, []jose.ContentEncryption{contentAlgorithm})
	// RFC 7516 §5.2 step 10: a direct key has no encrypted one beside it; go-jose passes over it.
	if _, rest, _ := strings.Cut(sealed, "."); err != nil || !strings.HasPrefix(rest, ".") {
		return "", errNoJWE
	}
	// Before decrypting: go-jose would decompress up to 250 kB, and the length
	// of what is compressed tells about it.
	_, compressed := object.Header.ExtraHeaders["zip"]
	if compressed || object.Header.ExtraHeaders[jose.HeaderContentType] != "JWT" {
		return "", errNoJWT
	}
	token, err := object.Decrypt(s.current()) // by kid
	if err != nil || len(token) == 0 {        // an empty token would pass for no cookie
		return "", errNotOpened
	}
	return string(token), nil
}

// extractor finds the cookie of that name and decrypts it. The Credential keeps
// its Source, a cookie, and with it the guard against cross-site requests. The
// signed token within is judged by jwthttp as any other is.
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
