package deepcopy_test

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/deepcopy"
)

type (
	flat   struct{ A, B string }
	nested struct {
		List   []string
		Lists  [][]int
		Map    map[string]map[string]int
		Ptr    *flat
		PtrPtr **flat
		Any    any
		Array  [2][]int
		Flats  [2]flat
		Raw    json.RawMessage
		Dates  []*jwt.NumericDate
		Aud    jwt.ClaimStrings
		Time   time.Time
		Nil    *flat
		NilMap map[string]string
		NilAny any
		NoList []string
		Empty  []string
		Struct struct{ List []string }
	}
	node       struct{ Next *node }
	nodes      struct{ Map map[string]nodes }
	hidden     struct{ list []string }
	hiddenFlat struct {
		a string
		B []string
	}
	selfMade    struct{ List []string }
	selfMadeMap map[string]string
	textMade    struct{ List []string }
	Embedded    struct{ List []string }
	embedding   struct {
		Embedded
		A string
	}
)

func (*selfMade) UnmarshalJSON([]byte) error   { return nil }
func (selfMadeMap) UnmarshalJSON([]byte) error { return nil }
func (*textMade) UnmarshalText([]byte) error   { return nil }

func TestKindOf(t *testing.T) {
	_, _ = hidden{}.list, hiddenFlat{}.a
	for _, tt := range []struct {
		name string
		typ  reflect.Type
		want deepcopy.Kind
	}{
		{"string", reflect.TypeFor[string](), deepcopy.Flat},
		{"struct of strings", reflect.TypeFor[flat](), deepcopy.Flat},
		{"array of strings", reflect.TypeFor[[3]string](), deepcopy.Flat},
		{"time", reflect.TypeFor[time.Time](), deepcopy.Flat},
		{"empty struct", reflect.TypeFor[struct{}](), deepcopy.Flat},
		{"named bool", reflect.TypeFor[deepcopy.Kind](), deepcopy.Flat},
		{"slice", reflect.TypeFor[[]string](), deepcopy.Nested},
		{"map", reflect.TypeFor[map[string]any](), deepcopy.Nested},
		{"jwt.MapClaims", reflect.TypeFor[jwt.MapClaims](), deepcopy.Nested},
		{"pointer", reflect.TypeFor[*flat](), deepcopy.Nested},
		{"pointer to time", reflect.TypeFor[*time.Time](), deepcopy.Nested},
		{"empty interface", reflect.TypeFor[any](), deepcopy.Nested},
		{"jwt.RegisteredClaims", reflect.TypeFor[jwt.RegisteredClaims](), deepcopy.Nested},
		{"json.RawMessage", reflect.TypeFor[json.RawMessage](), deepcopy.Nested},
		{"everything", reflect.TypeFor[nested](), deepcopy.Nested},
		{"embedded struct", reflect.TypeFor[embedding](), deepcopy.Nested},
		{"unexported string", reflect.TypeFor[hiddenFlat](), deepcopy.Nested},
		{"array of slices", reflect.TypeFor[[2][]int](), deepcopy.Nested},
		{"unexported slice", reflect.TypeFor[hidden](), deepcopy.Impossible},
		{"slice of structs with unexported slices", reflect.TypeFor[[]hidden](), deepcopy.Impossible},
		{"type that contains itself", reflect.TypeFor[node](), deepcopy.Impossible},
		{"map that contains itself", reflect.TypeFor[nodes](), deepcopy.Impossible},
		{"type with UnmarshalJSON", reflect.TypeFor[selfMade](), deepcopy.Impossible},
		{"map with UnmarshalJSON", reflect.TypeFor[selfMadeMap](), deepcopy.Impossible},
		{"slice of types with UnmarshalJSON", reflect.TypeFor[[]selfMade](), deepcopy.Impossible},
		{"type with UnmarshalText", reflect.TypeFor[textMade](), deepcopy.Impossible},
		{"big.Int", reflect.TypeFor[*big.Int](), deepcopy.Impossible},
		{"url.URL", reflect.TypeFor[url.URL](), deepcopy.Nested},
		{"netip.Addr", reflect.TypeFor[netip.Addr](), deepcopy.Impossible},
		{"interface with methods", reflect.TypeFor[error](), deepcopy.Impossible},
		{"func", reflect.TypeFor[func()](), deepcopy.Impossible},
		{"chan", reflect.TypeFor[chan int](), deepcopy.Impossible},
		{"unsafe pointer", reflect.TypeFor[unsafe.Pointer](), deepcopy.Impossible},
		{"map with pointers as keys", reflect.TypeFor[map[*int]string](), deepcopy.Impossible},
		{"map of chans", reflect.TypeFor[map[string]chan int](), deepcopy.Impossible},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := deepcopy.KindOf(tt.typ); got != tt.want {
				t.Errorf("kind %d, want %d", got, tt.want)
			}
		})
	}
}

const document = `{"List":["a","b"],"Lists":[[1],[2,3],[]],"Map":{"x":{"y":1}},"Ptr":{"A":"a"},"PtrPtr":{"B":"b"},
	"Any":[1.5,"x",null,true,{"z":["q"]}],"Array":[[1],[2]],"Flats":[{"A":"a"},{"B":"b"}],"Raw":{"r":1},"Dates":[1,2],"Aud":["a","b"],
	"Time":"2026-01-02T03:04:05Z","Empty":[],"Struct":{"List":["s"]}}`

func decode(t *testing.T) nested {
	t.Helper()
	var v nested
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDetach(t *testing.T) {
	want := decode(t)
	for _, tt := range []struct {
		name   string
		modify func(*nested)
	}{
		{"list", func(v *nested) { v.List[0] = "x" }},
		{"list of lists", func(v *nested) { v.Lists[1][0] = 9 }},
		{"element of the outer list", func(v *nested) { v.Lists[0] = nil }},
		{"map", func(v *nested) { v.Map["new"] = nil }},
		{"map in a map", func(v *nested) { v.Map["x"]["y"] = 9 }},
		{"pointer", func(v *nested) { v.Ptr.A = "x" }},
		{"pointer to a pointer", func(v *nested) { (*v.PtrPtr).B = "x" }},
		{"list in an interface", func(v *nested) { v.Any.([]any)[0] = 9 }},
		{"map in an interface", func(v *nested) { v.Any.([]any)[4].(map[string]any)["z"] = 9 }},
		{"list in a map in an interface", func(v *nested) { v.Any.([]any)[4].(map[string]any)["z"].([]any)[0] = 9 }},
		{"array", func(v *nested) { v.Array[1][0] = 9 }},
		{"raw", func(v *nested) { v.Raw[0] = ' ' }},
		{"dates", func(v *nested) { v.Dates[1].Time = time.Time{} }},
		{"audience", func(v *nested) { v.Aud[0] = "x" }},
		{"inner struct", func(v *nested) { v.Struct.List[0] = "x" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			shared := decode(t)
			own := shared
			deepcopy.Detach(reflect.ValueOf(&own).Elem())
			if !reflect.DeepEqual(own, want) {
				t.Fatalf("copy %+v, want %+v", own, want)
			}
			tt.modify(&own)
			if reflect.DeepEqual(own, want) {
				t.Fatal("nothing was modified")
			}
			if !reflect.DeepEqual(shared, want) {
				t.Errorf("the original is %+v, want %+v", shared, want)
			}
		})
	}
	t.Run("appending", func(t *testing.T) {
		shared := nested{List: make([]string, 1, 10)}
		own := shared
		deepcopy.Detach(reflect.ValueOf(&own).Elem())
		if _ = append(own.List, "x"); shared.List[:2][1] != "" {
			t.Error("the copy has the capacity of the original")
		}
	})
	t.Run("fields that cannot be set", func(t *testing.T) {
		own := hiddenFlat{"a", []string{"b"}}
		shared := own
		deepcopy.Detach(reflect.ValueOf(&own).Elem())
		if own.B[0] = "x"; own.a != "a" || shared.B[0] != "b" {
			t.Errorf("copy %v, original %v", own, shared)
		}
	})
}

// The elements of a slice or array may refer to something in turn.
func TestDetach_elements(t *testing.T) {
	type element struct{ Map map[string]int }
	type value struct {
		Structs  []element
		Arrays   [][1]map[string]int
		Pointers []*element
	}
	original := value{
		[]element{{map[string]int{"a": 1}}}, [][1]map[string]int{{{"a": 1}}}, []*element{{map[string]int{"a": 1}}},
	}
	c := original
	deepcopy.Detach(reflect.ValueOf(&c).Elem())
	c.Structs[0].Map["a"], c.Arrays[0][0]["a"], c.Pointers[0].Map["a"] = 2, 2, 2
	if original.Structs[0].Map["a"] != 1 || original.Arrays[0][0]["a"] != 1 || original.Pointers[0].Map["a"] != 1 {
		t.Errorf("the original is %+v, %v", original, original.Pointers[0])
	}
}
