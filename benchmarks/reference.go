package benchmarks

import (
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// SignatureAlone is golang-jwt's Verify with nothing around it: a floor under
// hand and jwthttp without a cache, since both call it, and not a contender.
const SignatureAlone = "signature-alone"

// Timed returns who is timed on the named request: all contenders, and on the
// one that has a signature to verify the floor.
func Timed(request string) []Contender {
	if request != Admitted {
		return Contenders()
	}
	return append(Contenders(), Contender{Name: SignatureAlone, Guard: signatureAlone})
}

// signatureAlone verifies the admitted token, whatever the request is.
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
