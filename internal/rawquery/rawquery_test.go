package rawquery_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/rawquery"
)

func TestIs(t *testing.T) {
	for _, tt := range []struct {
		pair, param string
		want        bool
	}{
		{"q=x", "q", true},
		{"q", "q", true},
		{"q=", "q", true},
		{"%71=x", "q", true},
		{"a%20b=x", "a b", true},
		{"a+b=x", "a b", true},
		{"access%5Ftoken=x", "access_token", true},
		{"%61%63=x", "ac", true},
		{"Q=x", "q", false},
		{"qq=x", "q", false},
		{"", "q", false},
		{"=q", "q", false},
		{"%2571=x", "q", false},
		{"+", "+", false}, // it is a space
		{"%2B", "+", true},
		{"%71", "%71", false},
		{"q%=x", "q", false},
		{"q%zz=x", "q", false},
		{strings.Repeat("%71", 1000) + "=x", "q", false},
	} {
		if got := rawquery.Is(tt.pair, tt.param); got != tt.want {
			t.Errorf("%q is %q: %v", tt.pair, tt.param, got)
		}
	}
}

func TestValue(t *testing.T) {
	for _, tt := range []struct{ pair, want string }{
		{"q=x", "x"},
		{"q", ""},
		{"q=", ""},
		{"q=a%2eb", "a.b"},
		{"q=a+b", "a b"},
		{"q=a=b", "a=b"},
		{"q=%2", "%2"},
		{"q=%zz", "%zz"},
		{"q=" + strings.Repeat("%61", 1<<15), strings.Repeat("%61", 1<<15)},
	} {
		if got := rawquery.Value(tt.pair); got != tt.want {
			t.Errorf("%.40q: %.40q, want %.40q", tt.pair, got, tt.want)
		}
	}
}

var queries = []struct {
	name   string
	query  string
	params []string
	want   string
	found  bool
}{
	{"only", "q=x", []string{"q"}, "", true},
	{"first", "q=x&a=1", []string{"q"}, "a=1", true},
	{"last", "a=1&q=x", []string{"q"}, "a=1", true},
	{"in between", "a=1&q=x&b=2", []string{"q"}, "a=1&b=2", true},
	{"several", "q=x&a=1&q=y", []string{"q"}, "a=1", true},
	{"two params", "q=x&a=1&p=y", []string{"q", "p"}, "a=1", true},
	{"escaped", "%71=x&a=%2f", []string{"q"}, "a=%2f", true},
	{"without value", "q&a", []string{"q"}, "a", true},
	{"other bytes stay", "a=%2F+%2f&&b;c=1&q=x&", []string{"q"}, "a=%2F+%2f&&b;c=1&", true},
	{"none", "a=1&&b", []string{"q"}, "a=1&&b", false},
	{"empty query", "", []string{"q"}, "", false},
	{"no params", "q=x", nil, "q=x", false},
}

func TestWithout(t *testing.T) {
	for _, tt := range queries {
		t.Run(tt.name, func(t *testing.T) {
			if got, found := rawquery.Without(tt.query, tt.params); got != tt.want || found != tt.found {
				t.Errorf("%q, %v; want %q, %v", got, found, tt.want, tt.found)
			}
		})
	}
}

// FuzzWithout checks against net/url that the parameter is gone and the others
// are unchanged.
func FuzzWithout(f *testing.F) {
	for _, tt := range queries {
		f.Add(tt.query, "q")
	}
	f.Fuzz(func(t *testing.T, query, param string) {
		if param == "" {
			return
		}
		rest, found := rawquery.Without(query, []string{param})
		want, _ := url.ParseQuery(query) // the pairs that are valid
		if want.Has(param) && !found {
			t.Errorf("%q is not found in %q", param, query)
		}
		got, _ := url.ParseQuery(rest)
		if got.Has(param) {
			t.Errorf("%q is left in %q", param, rest)
		}
		want.Del(param)
		for name, values := range want {
			if !slices.Equal(got[name], values) {
				t.Errorf("%q of %q: %q, want %q", name, rest, got[name], values)
			}
		}
		if !found && rest != query {
			t.Errorf("%q became %q", query, rest)
		}
	})
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		want        []string
		total       int
	}{
		{"one", "a=1&t=x", []string{"x"}, 2},
		{"two", "t=x&t=%79", []string{"x", "y"}, 2},
		{"another name", "a=t", nil, 1},
		{"as many as allowed", "t=x&b&c", []string{"x"}, 3},
		{"more than allowed", "t=x&b&c&d&e", nil, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			values, total := rawquery.Values(tt.query, "t", 3)
			if !slices.Equal(values, tt.want) || total != tt.total {
				t.Errorf("%q of %d, want %q of %d", values, total, tt.want, tt.total)
			}
		})
	}
}
