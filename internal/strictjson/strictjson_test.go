package strictjson_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// known are the members to look for, the last two without case.
var (
	known = []string{"iss", "exp", "client_id", "tenantId", "été"}
	look  = strictjson.NewNames(known[:3], append(known[3:], "TENANTID", "Exp"))
)

// texts has inputs and whether Parse accepts them; they seed the fuzz test, too.
var texts = []struct {
	text string
	want bool
}{
	{`{}`, true},
	{" {\t}\r\n", true},
	{`{"iss":"a","exp":1,"x":null}`, true},
	{`{"\u0069ss":"a"}`, true},
	{`{"":1}`, true},
	{`{"x":[1,-0,0.5,1e3,1E+3,1e-3]}`, true},
	{`{"x":[true,false,null,"",{},[]]}`, true},
	{`{"x":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, true},
	{`{"x":"é😀` + "\u2028\x7f" + `"}`, true},
	{`{"x":1e-400}`, true},
	{`{"x":1` + strings.Repeat("0", 308) + `}`, true},
	{`{"x":` + nested(31) + `}`, true},
	{`{"a":{"x":1,"X":2}}`, true},
	{`{"kid":"a","Kid2":"b"}`, true},
	{`{"x":{` + names(40) + `}}`, true},
	{`{` + names(40) + `}`, true},
	{``, false},
	{` `, false},
	{`[]`, false},
	{`"a"`, false},
	{`null`, false},
	{`{`, false},
	{`{"`, false},
	{`{"a`, false},
	{`{"a"`, false},
	{`{"a":`, false},
	{`{"a":1`, false},
	{`{"a":1,`, false},
	{`{"a":1,}`, false},
	{`{,}`, false},
	{`{"a" 1}`, false},
	{`{a:1}`, false},
	{`{"a":1 "b":2}`, false},
	{`{"a":[1,]}`, false},
	{`{"a":[1 2]}`, false},
	{`{"a":[`, false},
	{`{"a":[1`, false},
	{`{"a":tru}`, false},
	{`{"a":True}`, false},
	{`{"a":nul`, false},
	{`{"a":01}`, false},
	{`{"a":1.}`, false},
	{`{"a":.1}`, false},
	{`{"a":1e}`, false},
	{`{"a":1e+}`, false},
	{`{"a":-}`, false},
	{`{"a":+1}`, false},
	{`{"a":0x1}`, false},
	{`{"a":1_0}`, false},
	{`{"a":Infinity}`, false},
	{`{"a":1e400}`, false},
	{`{"a":-1e400}`, false},
	{`{"a":1` + strings.Repeat("0", 309) + `}`, false},
	{`{"a":"` + "\n" + `"}`, false},
	{`{"a":"` + "\x00" + `"}`, false},
	{`{"a":"\x"}`, false},
	{`{"a":"\`, false},
	{`{"a":"\u12`, false},
	{`{"a":"\u12g4"}`, false},
	{`{"a":"\u+123"}`, false},
	{`{"a":"\ud800"}`, false},
	{`{"a":"\udfff"}`, false},
	{`{"a":"\udc00\udc00"}`, false},
	{`{"a":"\ud800\ue000"}`, false},
	{`{"a":"\ud800\udbff"}`, false},
	{`{"a":"\udbff\udfff"}`, true},
	{`{"a":"` + "\x1f" + `"}`, false},
	{`{"x":{` + names(9) + `,"n8":1}}`, false},
	{`{"x":{` + names(16) + `,"n0":1}}`, false},
	{`{"a":"\udc00"}`, false},
	{`{"a":"\ud800\ud800"}`, false},
	{`{"a":"\ud800\u00"}`, false},
	{`{"a":"\ud800x"}`, false},
	{`{"a":"` + "\xff" + `"}`, false},
	{`{"a":"` + "\xed\xa0\x80" + `"}`, false},
	{"\ufeff{}", false},
	{"{}\x00", false},
	{`{}{}`, false},
	{`{"a":1}//`, false},
	{"{\v}", false},
	{"{\u00a0}", false},
	{`{"x":` + nested(32) + `}`, false},
	{strings.Repeat(`{"a":`, 33) + `1` + strings.Repeat(`}`, 33), false},
	{`{"iss":1,"iss":2}`, false},
	{`{"x":1,"x":2}`, false},
	{`{"x":1,"\u0078":2}`, false},
	{`{"x":1,"X":2}`, false},
	{`{"ISS":1}`, false},
	{`{"i\u017fs":1}`, false},
	{`{"Client_ID":1}`, false},
	{`{"tenantid":1}`, true},
	{`{"tEnAnTiD":1}`, true},
	{`{"tenantId":1,"x":2}`, true},
	{`{"tenantId":1,"TenantID":2}`, false},
	{`{"tenantId":1,"tenantid":2}`, false},
	{`{"\u0074enantId":1,"tenantId":2}`, false},
	{`{"ÉTÉ":1}`, true},
	{`{"ÉTÉ":1,"été":2}`, false},
	{`{"É":1,"é":2}`, false},
	{`{"K":1,"` + "\u212a" + `":2}`, false},
	{`{"a":[{"b":{"c":1,"c":1}}]}`, false},
	{`{"x":{` + names(40) + `,"n3":1}}`, false},
	{`{` + names(40) + `,"N3":1}`, false},
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func names(n int) string {
	var b []string
	for i := range n {
		b = append(b, fmt.Sprintf(`"n%d":%d`, i, i))
	}
	return strings.Join(b, ",")
}

func parse(text string) ([]strictjson.Value, error) {
	values := make([]strictjson.Value, len(known))
	return values, strictjson.Parse(text, look, values)
}

func TestParse(t *testing.T) {
	for _, tt := range texts {
		if _, err := parse(tt.text); (err == nil) != tt.want {
			t.Errorf("%.100q: error %v", tt.text, err)
		}
	}
}

func TestValue(t *testing.T) {
	values, err := parse(`{ "exp" : 1.5 , "x" : 0 , "client_id" : [ "a" , "\u00e9" ] }`)
	if err != nil {
		t.Fatal(err)
	}
	if values[0].Kind != strictjson.Absent || values[0].Text != "" {
		t.Errorf("absent member: %v", values[0])
	}
	if f, ok := values[1].Float(); f != 1.5 || !ok {
		t.Errorf("number: %v, %v", f, ok)
	}
	if list, ok := values[2].Strings(); !slices.Equal(list, []string{"a", "é"}) || !ok {
		t.Errorf("array: %q, %v", list, ok)
	}
	for i, v := range values {
		if _, ok := v.Unquote(); ok {
			t.Errorf("value %d is a string", i)
		}
	}
	if _, ok := values[2].Float(); ok {
		t.Error("an array is a number")
	}
	if _, ok := values[1].Strings(); ok {
		t.Error("a number is an array")
	}
	for i, text := range []string{`{"tenantId":1}`, `{"TENANTID":1}`, `{"tenantid":1}`, `{"Tenantıd":1}`, `{"\u0074enantId":1}`} {
		values, err := parse(text)
		if there := values[3].Kind == strictjson.Number; err != nil || there != (i != 3) { // a dotless i folds to itself alone
			t.Errorf("%s: %v, %v", text, values[3], err)
		}
	}
	if look.Len() != 5 || look.Index("TenantId") != 3 || look.Index("EXP") != 1 {
		t.Errorf("%d names, two at %d and %d", look.Len(), look.Index("TenantId"), look.Index("EXP"))
	}
	// Values of an earlier call are cleared.
	if err := strictjson.Parse(`{}`, look, values); err != nil || values[1].Kind != strictjson.Absent {
		t.Errorf("left over: %v, %v", values[1], err)
	}
}

func TestValue_Strings(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bool
	}{
		{`[]`, true}, {`[ ]`, true}, {`["a"]`, true}, {` [ "a" , "b" ] `, true},
		{`["a",null]`, false}, {`[1]`, false}, {`[["a"]]`, false}, {`[{"a":{"b":1}}]`, false}, {`"a"`, false}, {`null`, false}, {`{}`, false},
	} {
		values, err := parse(`{"iss":` + tt.text + `}`)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := values[0].Strings(); ok != tt.want {
			t.Errorf("%s: %v", tt.text, ok)
		}
	}
}

func TestValue_Integer(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bool
	}{
		{`0`, true}, {`42`, true}, {`-1`, true}, {`12345678901234567890123`, true},
		{`1.0`, false}, {`1e2`, false}, {`1E2`, false}, {`"42"`, false}, {`null`, false}, {`true`, false}, {`[42]`, false}, {`{"a":42}`, false},
	} {
		values, err := parse(`{"iss":` + tt.text + `}`)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := values[0].Integer(); ok != tt.want || ok && got != tt.text {
			t.Errorf("%s: %q, %v", tt.text, got, ok)
		}
	}
}

func TestValue_Members(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", `{}`, ""},
		{"white space", "{ \n }", ""},
		{"a member", `{"a":1}`, "a=1;"},
		{"several", "{ \"a\" : [1, 2] ,\t\"b\":{\"c\":\"}\"}\n,\"\\u0063\":null }", `a=[1, 2];b={"c":"}"};c=null;`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			values, err := parse(`{"iss":` + tt.text + `}`)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for name, v := range values[0].Members() {
				got += name + "=" + v.Text + ";"
			}
			if got != tt.want {
				t.Errorf("members %s, want %s", got, tt.want)
			}
		})
	}
	for range (strictjson.Value{Kind: strictjson.Array, Text: "[1]"}).Members() {
		t.Error("an array has members")
	}
}

// FuzzParse checks that encoding/json accepts what Parse accepts, with the same
// value for every known name, and that no other spelling of it is there.
func FuzzParse(f *testing.F) {
	for _, tt := range texts {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parse(text)
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", text, err)
		}
		// A struct matches names without case: it must see the same members.
		var fields struct {
			Iss, Exp any
			Client   any `json:"client_id"`
			Tenant   any `json:"tenantId"`
			Été      any
		}
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatal(err)
		}
		for i, field := range []any{fields.Iss, fields.Exp, fields.Client, fields.Tenant, fields.Été} {
			spelling := known[i]
			for name := range want {
				if i >= 3 && strings.EqualFold(name, known[i]) {
					spelling = name
				}
			}
			var got any
			if values[i].Kind != strictjson.Absent {
				if err := json.Unmarshal([]byte(values[i].Text), &got); err != nil {
					t.Fatalf("value %q: %v", values[i].Text, err)
				}
			}
			_, there := want[spelling]
			if there != (values[i].Kind != strictjson.Absent) || !cmp.Equal(got, want[spelling]) || !cmp.Equal(got, field) {
				t.Errorf("%q: %s is %v, encoding/json has %v and %v", text, known[i], got, want[spelling], field)
			}
			if s, ok := values[i].Unquote(); ok && s != want[spelling] {
				t.Errorf("%q: string %q, want %q", text, s, want[spelling])
			}
			if n, ok := values[i].Float(); ok && n != want[spelling] {
				t.Errorf("%q: number %v, want %v", text, n, want[spelling])
			}
			if list, ok := values[i].Strings(); ok {
				elements := want[spelling].([]any)
				if len(list) != len(elements) {
					t.Fatalf("%q: strings %q, want %q", text, list, elements)
				}
				for j, element := range elements {
					if list[j] != element {
						t.Errorf("%q: strings %q, want %q", text, list, elements)
					}
				}
			}
		}
		members := 0
		for name, v := range (strictjson.Value{Kind: strictjson.Object, Text: strings.TrimLeft(text, " \t\r\n")}).Members() {
			members++
			var got any
			if err := json.Unmarshal([]byte(v.Text), &got); err != nil || !reflect.DeepEqual(got, want[name]) {
				t.Errorf("%q: member %q is %v, %v; encoding/json has %v", text, name, got, err, want[name])
			}
		}
		if members != len(want) {
			t.Errorf("%q: %d members, want %d", text, members, len(want))
		}
		for a := range want {
			for b := range want {
				if a < b && strings.EqualFold(a, b) {
					t.Errorf("%q: %q and %q differ by case only", text, a, b)
				}
			}
		}
		if depth(want) > strictjson.MaxDepth {
			t.Errorf("%q is nested %d deep", text, depth(want))
		}
	})
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}
