package jwthttp_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Claims that embed jwt.RegisteredClaims are not decoded by encoding/json
// alone, and must not differ from what that makes of the payload by a bit.
func checkDecodes[T any](t *testing.T, name string) {
	for payloadName, changes := range map[string]map[string]any{
		"plain": nil, "one audience in an array": {"aud": []string{audienceName}}, "two": {"aud": []string{"x", audienceName}},
		"no iat": {"iat": nil}, "nbf": {"nbf": 1}, "fractions": {"nbf": 1.75, "iat": 946684700.25, "exp": 946689999.999999},
		"escapes": {"sub": json.RawMessage(`"\u00e9\ud83d\ude00"`)}, "own members": richClaims, "role of another case": {"role": nil, "ROLE": "x"},
		"odd names":         {"Role2": "x", "-": "x", "extra": map[string]any{"iss": "x"}, "registeredclaims": map[string]any{"sub": "x"}},
		"no subject and id": {"sub": nil, "jti": nil}, "names of deep ones": {"a4": "a", "c3": "c", "c4": "c2", "d2": "d", "e1": "e", "before": "b", "X": "x", "y": "y", "Z": "z", "F": map[string]any{"list": []string{"l"}}},
	} {
		bubble(t, name+", "+payloadName, func(t *testing.T) {
			payload := claimsJSON(changes)
			var want T
			wantErr := json.Unmarshal([]byte(payload), &want)
			opts := newOptions()
			opts.CacheSize = 0
			r, err := mustNew[T](t, opts).Authenticate(newRequest(withBearer(signHS256(goodHeader, payload))))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("error %v, encoding/json says %v", err, wantErr)
			}
			if got, _ := jwthttp.ClaimsFromContext[T](r.Context()); err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("claims %+v, want %+v", got, want)
			}
		})
	}
}

// Group and its likes are exported: encoding/json fills what they embed.
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

func TestClaimsAreWhatEncodingJSONMakesOfThem(t *testing.T) {
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
	type ambiguous struct { // both groups have it: nobody gets it
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
	checkDecodes[odd](t, "a tag that is none")
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
