package syntax_test

import (
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// bytes returns all bytes that a function accepts alone.
func bytes(accepts func(string) bool) string {
	var b strings.Builder
	for c := range 256 {
		if s := string([]byte{byte(c)}); accepts(s) {
			b.WriteString(s)
		}
	}
	return b.String()
}

const (
	digits = "0123456789"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower  = "abcdefghijklmnopqrstuvwxyz"
)

// Rule 30: what goes into a header field.
func TestCharacterSets(t *testing.T) {
	for _, tt := range []struct {
		name    string
		accepts func(string) bool
		want    string
	}{
		{"IsToken", syntax.IsToken, "!#$%&'*+-." + digits + upper + "^_`" + lower + "|~"},
		{"IsToken68", syntax.IsToken68, "+-./" + digits + upper + "_" + lower + "~"},
		{"FitsQuotedString", syntax.FitsQuotedString, " !#$%&'()*+,-./" + digits + ":;<=>?@" + upper + "[]^_`" + lower + "{|}~"},
		{"IsScope", syntax.IsScope, "!#$%&'()*+,-./" + digits + ":;<=>?@" + upper + "[]^_`" + lower + "{|}~"},
		{"IsAlphanumeric", func(s string) bool { return syntax.IsAlphanumeric(s[0]) }, digits + upper + lower},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := bytes(tt.accepts); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestForms(t *testing.T) {
	for _, tt := range []struct {
		name    string
		accepts func(string) bool
		text    string
		want    bool
	}{
		{"empty token", syntax.IsToken, "", false},
		{"token of two words", syntax.IsToken, "a b", false},
		{"empty token68", syntax.IsToken68, "", false},
		{"token68 with padding", syntax.IsToken68, "YWI=", true},
		{"token68 with much padding", syntax.IsToken68, "a====", true},
		{"token68 of padding alone", syntax.IsToken68, "==", false},
		{"token68 with padding inside", syntax.IsToken68, "a=b", false},
		{"three segments", syntax.IsSegments, "a=.b.c==", true},
		{"two segments", syntax.IsSegments, "a=.b", false},
		{"four segments", syntax.IsSegments, "a=.b.c==.d", false},
		{"an empty segment", syntax.IsSegments, "a=.b.", false},
		{"empty quoted string", syntax.FitsQuotedString, "", true},
		{"empty scope", syntax.IsScope, "", false},
		{"two scopes", syntax.IsScope, "a b", false},
		{"localhost", syntax.IsLoopback, "localhost", true},
		{"127.0.0.1", syntax.IsLoopback, "127.0.0.1", true},
		{"127.1.2.3", syntax.IsLoopback, "127.1.2.3", true},
		{"::1", syntax.IsLoopback, "::1", true},
		{"a name below localhost", syntax.IsLoopback, "localhost.evil.example", false},
		{"a name that begins like an address", syntax.IsLoopback, "127.0.0.1.evil.example", false},
		{"another address", syntax.IsLoopback, "10.0.0.1", false},
		{"no host", syntax.IsLoopback, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.accepts(tt.text); got != tt.want {
				t.Errorf("%q: %v", tt.text, got)
			}
		})
	}
}

func TestParsePublicURL(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bool
	}{
		{"https://api.example/x?y=z", true},
		{"https://api.example", true},
		{"https://api.example:8443/a%20b", true},
		{"http://localhost:8080/x", true},
		{"http://127.0.0.1/x", true},
		{"http://[::1]:80/x", true},
		{"", false},
		{"/x", false},
		{"api.example", false},
		{"https:", false},
		{"https:///x", false},
		{"https://:443/x", false},
		{"HTTPS://api.example/x", false},
		{"http://api.example/x", false},
		{"http://127.0.0.1.evil.example/x", false},
		{"ftp://localhost/x", false},
		{"https://api.example/#x", false},
		{"https://api.example/#", false},
		{"https://api.example/a b", false},
		{"https://api.example/é", false},
		{`https://api.example/"`, false},
		{`https://api.example/\`, false},
		{"https://api.example/\n", false},
		{"https://a%zz", false},
		{"https://user:hunter2@api.example/x", false},
		{"https:user:hunter2@api.example/x", false},
		{"https://user@api.example/x", false},
		{"https://@api.example/x", false},
	} {
		t.Run(tt.text, func(t *testing.T) {
			u, err := syntax.ParsePublicURL(tt.text)
			if (err == nil) != tt.want || (u != nil) != tt.want {
				t.Fatalf("URL %v, error %v", u, err)
			}
			if err == nil && u.String() != tt.text {
				t.Errorf("URL %q", u)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q shows the password", err)
			}
		})
	}
}
