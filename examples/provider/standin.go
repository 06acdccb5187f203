package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// standIn starts an identity provider for a first try. It serves its metadata and
// its key until ctx ends, and fills tokens into lines to paste.
func standIn(ctx context.Context, url string) (issuer, lines string, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	jwk, err := jwkset.NewJWKFromKey(&private.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
		ALG: jwkset.AlgRS256, KID: "1", USE: jwkset.UseSig,
	}})
	if err != nil {
		return "", "", err
	}
	keys, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		return "", "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	issuer = "http://" + listener.Addr().String()
	tokens := make([]string, 2)
	for i, scope := range []string{"orders:read", "orders:read orders:write"} {
		now := time.Now()
		t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": issuer, "aud": "https://api.example", "sub": "alice", "scope": scope,
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		})
		t.Header["kid"] = "1"
		if tokens[i], err = t.SignedString(private); err != nil {
			listener.Close()
			return "", "", err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": issuer + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(keys) // the client is gone if this fails
	})
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: mux}
	go func() { _ = server.Serve(listener) }() // ends with Close
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return issuer, strings.NewReplacer("URL", url, "$1", tokens[0], "$2", tokens[1]).Replace(greeting), nil
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
