package cause_test

import (
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/cause"
)

func TestCauses(t *testing.T) {
	all := []error{
		jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable, jwt.ErrTokenInvalidClaims, jwt.ErrTokenExpired,
		jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenSignatureInvalid,
	}
	for _, tt := range []struct {
		name string
		err  error
		text string
		is   []error
	}{
		{"Malformed", cause.Malformed("%d bytes", 3), "3 bytes", []error{jwt.ErrTokenMalformed}},
		{"Unverifiable", cause.Unverifiable("no"), "no", []error{jwt.ErrTokenUnverifiable}},
		{"Invalid", cause.Invalid(jwt.ErrTokenExpired, "%q", "x"), `"x"`, []error{jwt.ErrTokenInvalidClaims, jwt.ErrTokenExpired}},
		{"Invalid with nil", cause.Invalid(nil, "no"), "no", []error{jwt.ErrTokenInvalidClaims}},
		{
			"OutOfTime", cause.OutOfTime(jwt.ErrTokenExpired, "%v ago, leeway %v", time.Minute, time.Second),
			"1m0s ago, leeway 1s", []error{jwt.ErrTokenInvalidClaims, jwt.ErrTokenExpired},
		},
		{"OutOfTime with nil", cause.OutOfTime(nil, "%v of %v", 2, 1), "2ns of 1ns", []error{jwt.ErrTokenInvalidClaims}},
		{"Fixed", cause.Fixed("100 %s", jwt.ErrTokenSignatureInvalid), "100 %s", []error{jwt.ErrTokenSignatureInvalid}},
		{
			"Fixed with two", cause.Fixed("no", jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenMalformed), "no",
			[]error{jwt.ErrTokenMalformed, jwt.ErrTokenRequiredClaimMissing},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			for _, target := range all {
				want := false
				for _, is := range tt.is {
					want = want || is == target
				}
				if got := errors.Is(tt.err, target); got != want {
					t.Errorf("errors.Is(err, %v) = %v, want %v", target, got, want)
				}
			}
		})
	}
}
