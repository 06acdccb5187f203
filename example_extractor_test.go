package jwthttp_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// A token in a form field. The source is left at SourceOther, so requests from
// other sites are refused. Reading the form reads the body: limit it, and let
// handlers use r.PostForm.
func ExampleExtractor_formField() {
	fromForm := func(r *http.Request) (jwthttp.Credential, error) {
		if r.Method != http.MethodPost {
			return jwthttp.Credential{}, jwthttp.ErrNoToken
		}
		r.Body = http.MaxBytesReader(nil, r.Body, 64<<10)
		if err := r.ParseForm(); err != nil {
			return jwthttp.Credential{}, err
		}
		switch tokens := r.PostForm["token"]; len(tokens) {
		case 0:
			return jwthttp.Credential{}, jwthttp.ErrNoToken
		case 1:
			return jwthttp.Credential{Token: tokens[0], Name: "token"}, nil
		}
		return jwthttp.Credential{}, jwthttp.ErrMultipleTokens
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}, Extractor: fromForm})
	if err != nil {
		panic(err)
	}
	for _, body := range []string{"token=" + issueToken("alice", nil), "", "token=a&token=b"} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		_, err := auth.Authenticate(r)
		fmt.Println(err)
	}

	// Output:
	// <nil>
	// jwthttp: missing: no token in the request
	// jwthttp: multiple: more than one token in the request
}

// A cookie that is encrypted, so that nobody reads the claims on the way. An
// error that is not ErrNoToken is a 400: there is a cookie, and it is not ours.
func ExampleExtractor_encryptedCookie() {
	block, err := aes.NewCipher([]byte("a key that is thirty-two bytes!!"))
	if err != nil {
		panic(err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	cookie := jwthttp.FromCookie("__Host-token")
	decrypted := func(r *http.Request) (jwthttp.Credential, error) {
		c, err := cookie(r)
		if err != nil {
			return c, err
		}
		sealed, err := base64.RawURLEncoding.DecodeString(c.Token)
		if err != nil {
			return c, errors.New("cookie is not base64url")
		}
		token, err := seal.Open(nil, nil, sealed, []byte(c.Name))
		c.Token = string(token)
		return c, err
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}, Extractor: decrypted})
	if err != nil {
		panic(err)
	}
	sealed := base64.RawURLEncoding.EncodeToString(seal.Seal(nil, nil, []byte(issueToken("alice", nil)), []byte("__Host-token")))
	for _, value := range []string{sealed, sealed[:30], ""} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", "__Host-token="+value)
		_, err := auth.Authenticate(r)
		fmt.Println(err)
	}

	// Output:
	// <nil>
	// jwthttp: malformed: cipher: message authentication failed
	// jwthttp: missing: no token in the request
}
