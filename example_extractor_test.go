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

// An API takes the token from the Authorization field, browsers send a cookie,
// and a form of RFC 6750 §2.2 has it in its body. More than one is an error.
func ExampleOnlyOne() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{exampleIssuer()},
		Extractor: jwthttp.OnlyOne(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("__Host-token"), jwthttp.FromForm("access_token")),
	})
	if err != nil {
		panic(err)
	}
	token := issueToken("alice", nil)
	for _, tt := range []struct{ authorization, cookie, body string }{
		{authorization: "Bearer " + token},
		{cookie: "__Host-token=" + token},
		{body: "access_token=" + token},
		{authorization: "Bearer " + token, cookie: "__Host-token=" + token},
		{authorization: "Basic dXNlcjpwYXNz", cookie: "other=1", body: "a=1"},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", tt.authorization)
		r.Header.Set("Cookie", tt.cookie)
		_, err := auth.Authenticate(r)
		fmt.Println(err)
	}

	// Output:
	// <nil>
	// <nil>
	// <nil>
	// jwthttp: multiple: more than one token in the request
	// jwthttp: missing: no token in the request: Authorization does not have the scheme "Bearer"
}

// An encrypted cookie hides the claims from its browser. An error other than
// ErrNoToken is a 400: there is a cookie, and it is invalid. An Error chooses
// another answer.
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
