package jsonfields_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jsonfields"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

var strict = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

type (
	Group struct {
		Role  string `json:"role"`
		Extra any
	}
	named string
	upper string // decodes itself

	// kinds has a field of each kind that is decoded differently.
	kinds struct {
		jwt.RegisteredClaims
		Group
		S      string            `json:"s"`
		Named  named             `json:"named"`
		B      bool              `json:"b"`
		I      int               `json:"i"`
		I8     int8              `json:"i8"`
		I64    int64             `json:"i64"`
		U      uint16            `json:"u"`
		F      float32           `json:"f"`
		N      json.Number       `json:"n"`
		L      []string          `json:"l"`
		Bytes  []byte            `json:"bytes"`
		P      *string           `json:"p"`
		A      any               `json:"a"`
		M      map[string]string `json:"m"`
		Case   string            `json:"tenantId"`
		Date   *jwt.NumericDate  `json:"auth_time"`
		Value  jwt.NumericDate   `json:"value_date"`
		Groups jwt.ClaimStrings  `json:"groups"`
		T      time.Time         `json:"t"`
		Upper  upper             `json:"upper"`
		Skip   string            `json:"-"`
		Dash   string            `json:"-,"` //lint:ignore SA5008 encoding/json names it "-"
		hidden string
	}
)

func (u *upper) UnmarshalText(text []byte) error {
	*u = upper(strings.ToUpper(string(text)))
	return nil
}

var documents = []string{
	`{}`,
	`{"s":"x","b":true,"i":-5,"i8":7,"i64":1,"u":3,"f":1.5,"n":12,"l":["a","b"],"bytes":"AAAA","p":"p","a":[1],"m":{"k":"v"},"tenantId":"t"}`,
	`{"s":null,"b":null,"i":null,"l":null,"p":null,"a":null,"m":null,"n":null,"named":null,"auth_time":null,"groups":null,"t":null,"value_date":null}`,
	`{"s":1}`, `{"s":"\u00e9\ud83d\ude00"}`, `{"S":"x"}`, `{"b":"true"}`, `{"b":0}`, `{"b":false}`,
	`{"i":1.0}`, `{"i":1e2}`, `{"i":-0}`, `{"i":9223372036854775808}`, `{"i":"1"}`, `{"i":true}`, `{"i8":128}`, `{"i8":-128}`, `{"i8":127}`, `{"i64":-9223372036854775808}`,
	`{"u":-1}`, `{"f":1e39}`, `{"n":"12"}`, `{"n":"x"}`, `{"n":1.5}`,
	`{"l":["a",null]}`, `{"l":[1]}`, `{"l":[]}`, `{"l":"a"}`, `{"l":{}}`, `{"bytes":"?"}`,
	`{"TENANTID":"x"}`, `{"tenantid":"x"}`, `{"role":"r","Extra":{"a":1}}`, `{"extra":1}`, `{"named":"x"}`, `{"named":1}`,
	`{"auth_time":0}`, `{"auth_time":1.5}`, `{"auth_time":"1"}`, `{"auth_time":-1}`, `{"auth_time":1e3}`, `{"auth_time":1099511627777}`, `{"auth_time":9007199254740993}`, `{"value_date":1}`,
	`{"groups":"a"}`, `{"groups":["a"]}`, `{"groups":[]}`, `{"groups":[1]}`, `{"groups":1}`,
	`{"t":"2026-01-02T03:04:05Z"}`, `{"t":1}`, `{"upper":"x","-":"dash","Skip":"x","hidden":"h"}`,
	`{"iss":"i","sub":"s","aud":"a","exp":9,"nbf":1.25,"iat":2,"jti":"j"}`, `{"sub":1}`, `{"exp":"9"}`, `{"aud":[null]}`, `{"RegisteredClaims":1,"Group":{"role":"x"}}`,
}

// check compares the result for a document that strictjson accepts with that of
// encoding/json.
func check(t *testing.T, text string) {
	t.Helper()
	decoder, ok := jsonfields.New(reflect.TypeFor[kinds](), strict, "tid")
	if !ok {
		t.Fatal("no decoder")
	}
	values := make([]strictjson.Value, decoder.Names().Len())
	if strictjson.Parse(text, decoder.Names(), values) != nil {
		return
	}
	var got, want kinds
	wantErr := json.Unmarshal([]byte(text), &want)
	if err := decoder.Decode(values, reflect.ValueOf(&got).Elem()); (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: error %v, encoding/json has %v", text, err, wantErr)
	}
	if wantErr == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, encoding/json has %+v", text, got, want)
	}
}

func TestDecoder_Decode(t *testing.T) {
	_ = kinds{}.hidden
	for _, text := range documents {
		t.Run(text[:min(len(text), 40)], func(t *testing.T) { check(t, text) })
	}
}

// FuzzDecode checks that a struct is what encoding/json makes of the document.
func FuzzDecode(f *testing.F) {
	for _, text := range documents {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { check(t, text) })
}

func TestDecoder_Names(t *testing.T) {
	decoder, ok := jsonfields.New(reflect.TypeFor[Group](), strict, "tid", "ROLE")
	if !ok {
		t.Fatal("no decoder")
	}
	names := decoder.Names()
	for i, name := range append(strict, "role", "extra", "tid") {
		if got := names.Index(name); got != i {
			t.Errorf("index of %q is %d, want %d", name, got, i)
		}
	}
	if names.Len() != len(strict)+3 {
		t.Errorf("%d names", names.Len())
	}
}

type selfMade struct{ Sub string }

func (*selfMade) UnmarshalJSON([]byte) error { return nil }

type textMade struct{ Sub string }

func (*textMade) UnmarshalText([]byte) error { return nil }

// Types whose rules are finer are left to encoding/json.
func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name string
		typ  reflect.Type
		want bool
	}{
		{"empty struct", reflect.TypeFor[struct{}](), true},
		{"struct", reflect.TypeFor[Group](), true},
		{"embedded structs", reflect.TypeFor[kinds](), true},
		{"usual characters in a tag", reflect.TypeFor[struct {
			A string `json:"https://x.example:80/a_b-c.d"`
		}](), true},
		{"omitempty", reflect.TypeFor[struct {
			A string `json:"a,omitempty"`
		}](), true},
		{"no struct", reflect.TypeFor[map[string]any](), false},
		{"pointer", reflect.TypeFor[*Group](), false},
		{"UnmarshalJSON", reflect.TypeFor[selfMade](), false},
		{"UnmarshalText", reflect.TypeFor[textMade](), false},
		{"embedded struct with UnmarshalJSON", reflect.TypeFor[struct{ selfMade }](), false},
		{"embedded pointer", reflect.TypeFor[struct{ *Group }](), false},
		{"embedded struct with a name", reflect.TypeFor[struct {
			Group `json:"group"`
		}](), false},
		{"embedded string", reflect.TypeFor[struct{ named }](), false},
		{"the option string", reflect.TypeFor[struct {
			A int `json:"a,string"`
		}](), false},
		{"the option string with another", reflect.TypeFor[struct {
			A int `json:",omitempty,string"`
		}](), false},
		{"unusual character in a tag", reflect.TypeFor[struct {
			A string `json:"a→b"`
		}](), false},
		{"quote in a tag", reflect.TypeFor[struct {
			A string `json:"a\"b"` //lint:ignore SA5008 encoding/json ignores it
		}](), false},
		{"two fields of one name", reflect.TypeFor[struct {
			Group
			Role string `json:"role"`
		}](), false},
		{"two fields whose names differ by case", reflect.TypeFor[struct {
			A string `json:"a"`
			B string `json:"A"`
		}](), false},
		{"two fields whose names fold to one", reflect.TypeFor[struct {
			S string `json:"s"`
			L string `json:"ſ"`
		}](), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			decoder, ok := jsonfields.New(tt.typ, strict)
			if ok != tt.want || (decoder != nil) != tt.want {
				t.Errorf("decoder %v, %v", decoder, ok)
			}
		})
	}
}
