package benchmarks

import (
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// SignatureAlone is golang-jwt's Verify and nothing else. It is not a contender
// but a lower bound for hand and for jwthttp without a cache, which both call it.
const SignatureAlone = "signature-alone"

// Timed returns the contenders to time with the named request. SignatureAlone is
// added to those of Admitted.
func Timed(request string) []Contender {
	if request != Admitted {
		return Contenders()
	}
	return append(Contenders(), Contender{Name: SignatureAlone, Guard: signatureAlone})
}

// signatureAlone verifies the admitted token for every request.
func signatureAlone(f *Fixture, next http.Handler) (http.Handler, error) {
	token := f.tokens[Admitted]
	dot := strings.LastIndexByte(token, '.')
	signed := token[:dot]
	signature, err := jwt.NewParser().DecodeSegment(token[dot+1:])
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.method.Verify(signed, signature, f.Verifying); err != nil {
			panic(err)
		}
		next.ServeHTTP(w, r)
	}), nil
}
