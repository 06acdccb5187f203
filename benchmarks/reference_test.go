package benchmarks

import (
	"net/http/httptest"
	"testing"
)

func TestSignatureAlone_verifies(t *testing.T) {
	for _, alg := range Algorithms() {
		t.Run(alg, func(t *testing.T) {
			f := newFixture(t, alg)
			for _, bad := range []bool{false, true} {
				if bad {
					f.tokens[Admitted] = f.tokens[Signature]
				}
				h, err := signatureAlone(f, nothing)
				if err != nil {
					t.Fatal(err)
				}
				func() {
					defer func() {
						if panicked := recover() != nil; panicked != bad {
							t.Errorf("altered: %t, panicked: %t", bad, panicked)
						}
					}()
					h.ServeHTTP(httptest.NewRecorder(), f.Request(Admitted))
				}()
			}
		})
	}
}

func TestTimed(t *testing.T) {
	for _, name := range append(Cases(), MoreRefusals()...) {
		got := Timed(name)
		if found := got[len(got)-1].Name == SignatureAlone; found != (name == Admitted) {
			t.Errorf("%s: signature alone is timed: %t", name, found)
		}
	}
}
