package jwthttptest_test

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

func TestProver(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "RS512"} {
		t.Run(alg, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwthttptest.New(t, "ES256")
				auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
					Issuers: []jwthttp.Issuer{issuer.Trusted()},
					DPoP:    &jwthttp.DPoP{BaseURLs: []string{"https://api.test"}, Algorithms: []string{alg}},
				})
				if err != nil {
					t.Fatal(err)
				}
				prover := jwthttptest.NewProver(t, alg)
				token := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": prover.Thumbprint()}})
				for _, tt := range []struct {
					name, proof string
					ok          bool
				}{
					{"good", prover.Proof("GET", "https://api.test/a", token, nil), true},
					{"changed", prover.Proof("GET", "https://api.test/a", token, func(header, claims map[string]any) {
						header["x"], claims["y"] = 1, 2
					}), true},
					{"another method", prover.Proof("POST", "https://api.test/a", token, nil), false},
					{"no token", prover.Proof("GET", "https://api.test/a", "", nil), false},
					{"without typ", prover.Proof("GET", "https://api.test/a", token, func(header, _ map[string]any) { header["typ"] = nil }), false},
					{"without jti", prover.Proof("GET", "https://api.test/a", token, func(_, claims map[string]any) { claims["jti"] = nil }), false},
					{"another key", jwthttptest.NewProver(t, alg).Proof("GET", "https://api.test/a", token, nil), false},
				} {
					r := httptest.NewRequest("GET", "/a", nil)
					r.Header.Set("Authorization", "DPoP "+token)
					r.Header.Set("DPoP", tt.proof)
					if _, err := auth.Authenticate(r); (err == nil) != tt.ok {
						t.Errorf("%s: %v", tt.name, err)
					}
				}
			})
		})
	}
}
