package authfield_test

import (
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/authfield"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// fields seed the fuzz test, too.
var fields = []struct {
	name   string
	value  string
	scheme string
	want   string
	err    error
}{
	{"scheme and token", "Bearer a.b.c", "Bearer", "a.b.c", nil},
	{"lower case", "bearer t", "Bearer", "t", nil},
	{"upper case", "BEARER t", "Bearer", "t", nil},
	{"several spaces", "Bearer   t", "Bearer", "t", nil},
	{"a space at the end", "Bearer t ", "Bearer", "t ", nil}, // which no token has
	{"two words", "Bearer a b", "Bearer", "a b", nil},
	{"a comma at the end", "Bearer t,", "Bearer", "t,", nil},
	{"a parameter", `Bearer t, x="y"`, "Bearer", `t, x="y"`, nil},
	{"no scheme wanted", "a.b.c", "", "a.b.c", nil},
	{"no scheme wanted, a scheme", "Bearer t", "", "Bearer t", nil},
	{"no scheme wanted, empty", "", "", "", nil},
	{"scheme alone", "Bearer", "Bearer", "", authfield.ErrSyntax},
	{"scheme and space", "Bearer ", "Bearer", "", authfield.ErrSyntax},
	{"a tab after the scheme", "Bearer\tt", "Bearer", "\tt", nil}, // which no token has
	{"a no-break space after the scheme", "Bearer\u00a0t", "Bearer", "\u00a0t", nil},
	{"empty", "", "Bearer", "", authfield.ErrOtherScheme},
	{"another scheme", "Basic dTpw", "Bearer", "", authfield.ErrOtherScheme},
	{"a longer scheme", "BearerX t", "Bearer", "", authfield.ErrOtherScheme},
	{"a shorter scheme", "Bear t", "Bearer", "", authfield.ErrOtherScheme},
	{"no space", "Bearer:t", "Bearer", "", authfield.ErrOtherScheme},
	{"a scheme that folds to it", "bea\u017fer t", "beaSer", "", authfield.ErrOtherScheme},
	{"a space in front", " Bearer t", "Bearer", "", authfield.ErrOtherScheme},
	{"a token alone", "a.b.c", "Bearer", "", authfield.ErrOtherScheme},
	{"two tokens", "Bearer a, Bearer b", "Bearer", "", authfield.ErrMultiple},
	{"equal tokens", "Bearer a,Bearer a", "Bearer", "", authfield.ErrMultiple},
	{"two tokens with one scheme", "Bearer a,b", "Bearer", "", authfield.ErrMultiple},
	{"two tokens without a scheme", "a.b.c, d.e.f", "", "", authfield.ErrMultiple},
	{"another scheme second", "Bearer a, Basic b", "Bearer", "", authfield.ErrMultiple},
	{"the scheme second", "Basic a, Bearer b", "Bearer", "", authfield.ErrMultiple},
	{"the scheme third, with a tab", "Basic a, Digest b,\tbearer c", "Bearer", "", authfield.ErrMultiple},
	{"two other schemes", "Basic a, Digest b", "Bearer", "", authfield.ErrOtherScheme},
	{"a parameter named like the scheme", `Digest a="x", Bearer="y"`, "Bearer", "", authfield.ErrOtherScheme},
	{"the scheme in a quoted parameter", `Digest a="x, Bearer b"`, "Bearer", "", authfield.ErrOtherScheme},
	{"the scheme second, without a token", "Basic a, Bearer", "Bearer", "", authfield.ErrOtherScheme},
}

// Rules 1 to 4
func TestCredential(t *testing.T) {
	for _, tt := range fields {
		t.Run(tt.name, func(t *testing.T) {
			got, err := authfield.Credential(tt.value, tt.scheme)
			if got != tt.want || err != tt.err {
				t.Errorf("%q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// FuzzCredential checks that a credential is the end of the value after its scheme,
// and that a value with the scheme, one space and a token68 is accepted.
func FuzzCredential(f *testing.F) {
	for _, tt := range fields {
		f.Add(tt.value, tt.scheme)
	}
	f.Fuzz(func(t *testing.T, value, scheme string) {
		if scheme != "" && !syntax.IsToken(scheme) {
			return
		}
		got, err := authfield.Credential(value, scheme)
		if err != nil {
			if got != "" {
				t.Errorf("%q, %q: %q with an error", value, scheme, got)
			}
			if first, rest, ok := strings.Cut(value, " "); ok && first == scheme && rest == "a.b.c" {
				t.Errorf("%q, %q: %v", value, scheme, err)
			}
			return
		}
		before, ok := strings.CutSuffix(value, got)
		if !ok || !strings.EqualFold(strings.TrimRight(before, " "), scheme) {
			t.Errorf("%q, %q: credential %q", value, scheme, got)
		}
	})
}
