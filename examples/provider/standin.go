package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// standIn is an identity provider for whoever has none at hand: it serves a key
// at keysURL until ctx ends, and fills tokens into lines to paste.
func standIn(ctx context.Context, url string) (keysURL, lines string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	jwk, err := jwkset.NewJWKFromKey(&private.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
		ALG: jwkset.AlgES256, KID: "1", USE: jwkset.UseSig,
	}})
	if err != nil {
		return "", "", err
	}
	keys, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		return "", "", err
	}
	sign := func(scope string) string {
		now := time.Now()
		t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": "https://login.example", "aud": "https://api.example", "sub": "alice", "scope": scope,
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		})
		t.Header["kid"] = "1"
		signed, signErr := t.SignedString(private)
		if signErr != nil {
			err = signErr
		}
		return signed
	}
	lines = strings.NewReplacer("URL", url, "$1", sign("orders:read"), "$2", sign("orders:read orders:write")).Replace(greeting)
	if err != nil {
		return "", "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(keys) // the client is gone if this fails
	})}
	go func() { _ = server.Serve(listener) }() // ends with Close
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return "http://" + listener.Addr().String(), lines, nil
}

const greeting = `An API at URL, and a stand-in for its identity provider; paste this into a shell:

READER=$1
WRITER=$2
curl -s -w '%{http_code}, expected 200: for everyone\n' URL/health
curl -s -w '%{http_code}, expected 401: no token\n' URL/me
curl -s -w '%{http_code}, expected 200: who I am\n' -H "Authorization: Bearer $READER" URL/me
curl -s -w '%{http_code}, expected 401: not as it was signed\n' -H "Authorization: Bearer ${READER}A" URL/me
curl -s -w '%{http_code}, expected 403: without the scope\n' -X POST -H "Authorization: Bearer $READER" URL/orders
curl -s -w '%{http_code}, expected 201: with it\n' -X POST -H "Authorization: Bearer $WRITER" URL/orders
`
