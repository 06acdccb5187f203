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

// standIn starts an identity provider that serves its metadata and one key until
// ctx ends. It returns the provider's name and lines to paste that have its
// tokens.
func standIn(ctx context.Context, url string) (issuer, lines string, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	keys, err := keySet(&private.PublicKey)
	if err != nil {
		return "", "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	issuer = "http://" + listener.Addr().String()
	reader, err := sign(private, issuer, "orders:read")
	if err != nil {
		return "", "", err
	}
	writer, err := sign(private, issuer, "orders:read orders:write")
	if err != nil {
		return "", "", err
	}
	serveJSON := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v) // it fails if the client is gone
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", serveJSON(map[string]string{"issuer": issuer, "jwks_uri": issuer + "/keys"}))
	mux.HandleFunc("GET /keys", serveJSON(keys))
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: mux}
	go func() { _ = server.Serve(listener) }() // ends with Close
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return issuer, strings.NewReplacer("URL", url, "$1", reader, "$2", writer).Replace(greeting), nil
}

// keySet returns a JWK Set of one key.
func keySet(public *rsa.PublicKey) (jwkset.JWKSMarshal, error) {
	jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
		ALG: jwkset.AlgRS256, KID: "1", USE: jwkset.UseSig,
	}})
	if err != nil {
		return jwkset.JWKSMarshal{}, err
	}
	return jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}}, nil
}

func sign(private *rsa.PrivateKey, issuer, scope string) (string, error) {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": issuer, "aud": "https://api.example", "sub": "alice", "scope": scope,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	t.Header["kid"] = "1"
	return t.SignedString(private)
}

const greeting = `An API at URL, and a stand-in for its identity provider. Paste this into a shell:

READER=$1
WRITER=$2
curl -s -w '%{http_code}, expected 200: public\n' URL/health
curl -s -w '%{http_code}, expected 401: no token\n' URL/me
curl -s -w '%{http_code}, expected 200: who I am\n' -H "Authorization: Bearer $READER" URL/me
curl -s -w '%{http_code}, expected 401: the signature was changed\n' -H "Authorization: Bearer ${READER}A" URL/me
curl -s -w '%{http_code}, expected 403: without the scope\n' -X POST -H "Authorization: Bearer $READER" URL/orders
curl -s -w '%{http_code}, expected 201: with the scope\n' -X POST -H "Authorization: Bearer $WRITER" URL/orders
`
