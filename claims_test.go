package jwthttp_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// checkDecodes checks that the claims are what encoding/json makes of the payload,
// which does not decode most structs here.
func checkDecodes[T any](t *testing.T, name string) {
	for _, tt := range []struct {
		name    string
		changes map[string]any
	}{
		{"plain", nil},
		{"one audience in an array", map[string]any{"aud": []string{audienceName}}},
		{"two audiences", map[string]any{"aud": []string{"x", audienceName}}},
		{"no iat", map[string]any{"iat": nil}},
		{"nbf", map[string]any{"nbf": 1}},
		{"fractions", map[string]any{"nbf": 1.75, "iat": 946684700.25, "exp": 946689999.999999}},
		{"escapes", map[string]any{"sub": json.RawMessage(`"\u00e9\ud83d\ude00"`)}},
		{"own members", richClaims},
		{"role of another case", map[string]any{"role": nil, "ROLE": "x"}},
		{"odd names", map[string]any{"Role2": "x", "-": "x", "extra": map[string]any{"iss": "x"}, "registeredclaims": map[string]any{"sub": "x"}}},
		{"no subject and ID", map[string]any{"sub": nil, "jti": nil}},
		{"integer identifiers", map[string]any{"sub": 1, "jti": 2}},
		{"null claims", map[string]any{"sub": json.RawMessage("null"), "nbf": json.RawMessage("null"), "role": json.RawMessage("null")}},
		{"names of deep fields", map[string]any{"a4": "a", "c3": "c", "c4": "c2", "d2": "d", "e1": "e", "before": "b", "X": "x", "y": "y", "Z": "z", "F": map[string]any{"list": []string{"l"}}}},
	} {
		bubble(t, name+", "+tt.name, func(t *testing.T) {
			payload := claimsJSON(tt.changes)
			var want T
			wantErr := json.Unmarshal([]byte(payload), &want)
			r, err := mustNew[T](t, newOptions()).Authenticate(newRequest(withBearer(signHS256(goodHeader, payload))))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("error %v, encoding/json says %v", err, wantErr)
			}
			if err != nil {
				checkReason(t, err, jwthttp.ReasonClaims)
				return
			}
			if got := jwthttp.MustClaims[T](r.Context()); !reflect.DeepEqual(got, want) {
				t.Errorf("claims %+v, want %+v", got, want)
			}
		})
	}
}

func checkReason(t *testing.T, err error, want jwthttp.Reason) {
	t.Helper()
	var e *jwthttp.Error
	if !errors.As(err, &e) || e.Reason != want {
		t.Errorf("error %v, want Reason %q", err, want)
	}
}

// Group and the others are exported, because encoding/json does not fill embedded
// pointers to unexported structs.
type (
	Group struct {
		Role  string `json:"role"`
		Extra any
	}
	Group2      struct{ List []string }
	Colliding   struct{ Sub string }
	WithMethod  struct{ Role string }
	InsideGroup struct{ Group }
)

func (WithMethod) M() {}

// selfMade has fields, but decodes itself.
type selfMade struct{ Sub, Role string }

func (s *selfMade) UnmarshalJSON(text []byte) error {
	var v struct{ Sub string }
	err := json.Unmarshal(text, &v)
	s.Role = "role of " + v.Sub
	return err
}

func TestClaimsFromContext_decoding(t *testing.T) {
	type plain struct {
		jwt.RegisteredClaims
		Role string `json:"role"`
	}
	type last struct {
		Role   string
		Extra  map[string]any `json:"extra,omitempty"`
		hidden int
		Skip   string `json:"-"`
		jwt.RegisteredClaims
	}
	type shadowing struct {
		jwt.RegisteredClaims
		Subject string `json:"sub"`
	}
	type byCase struct {
		jwt.RegisteredClaims
		Exp any
	}
	type tagged struct {
		jwt.RegisteredClaims `json:"registeredclaims"`
		Role                 string
	}
	type deeper struct {
		plain
		Extra any
	}
	type pointer struct {
		*jwt.RegisteredClaims
		Role string
	}
	type two struct {
		jwt.RegisteredClaims
		testClaims
	}
	type wrong struct {
		jwt.RegisteredClaims
		Role int `json:"role"`
	}
	type empty struct{ jwt.RegisteredClaims }
	_ = last{hidden: 1}
	type grouped struct {
		jwt.RegisteredClaims
		Group
		Group2
		Role2 string
	}
	type ambiguous struct { // two fields of one name
		jwt.RegisteredClaims
		Group
		WithMethod
	}
	type colliding struct {
		jwt.RegisteredClaims
		Colliding
	}
	type inside struct {
		InsideGroup
		jwt.RegisteredClaims
	}
	type named struct {
		jwt.RegisteredClaims
		Group `json:"extra"`
	}
	type byPointer struct {
		jwt.RegisteredClaims
		*Group
	}
	type twoGroups struct {
		Group
		Other struct{ Group }
		jwt.RegisteredClaims
	}
	type odd struct {
		Role string `json:"ro→le"` // which encoding/json ignores
		Sub  string
	}
	type l4 struct {
		A string `json:"a4"`
		B string `json:"role"`
	}
	type l3 struct {
		l4
		C  string `json:"c3"`
		C2 string `json:"c4"`
	}
	type l2 struct {
		l3
		D string `json:"d2"`
	}
	type l1 struct {
		Before string `json:"before"`
		l2
		E string `json:"e1"`
		F Group2
	}
	type deep struct {
		l1
		X, Y, Z string
	}
	checkDecodes[odd](t, "an invalid tag")
	checkDecodes[deep](t, "deep")
	checkDecodes[selfMade](t, "one that decodes itself")
	checkDecodes[grouped](t, "grouped")
	checkDecodes[ambiguous](t, "ambiguous")
	checkDecodes[colliding](t, "colliding")
	checkDecodes[inside](t, "inside")
	checkDecodes[named](t, "named")
	checkDecodes[byPointer](t, "by pointer")
	checkDecodes[twoGroups](t, "two groups")
	checkDecodes[plain](t, "plain")
	checkDecodes[last](t, "embedded last")
	checkDecodes[shadowing](t, "shadowing")
	checkDecodes[byCase](t, "by case")
	checkDecodes[tagged](t, "tagged")
	checkDecodes[deeper](t, "deeper")
	checkDecodes[pointer](t, "a pointer")
	checkDecodes[two](t, "twice")
	checkDecodes[wrong](t, "wrong type")
	checkDecodes[empty](t, "nothing else")
	checkDecodes[everything](t, "everything")
	checkDecodes[struct{}](t, "nothing")
	checkDecodes[*plain](t, "a pointer to a struct")
}
