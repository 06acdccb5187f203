package refusal_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp/internal/refusal"
)

func TestChallenge(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value string
		list  []string
		want  string
	}{
		{"no parameters", "", nil, `Bearer realm="r"`},
		{"a value", "a b", nil, `Bearer realm="r", v="a b"`},
		{"a list", "", []string{"a", "b"}, `Bearer realm="r", l="a b"`},
		{"both", "v", []string{"l"}, `Bearer realm="r", v="v", l="l"`},
		{"a double quote", `a"b`, []string{`a"b`, "c"}, `Bearer realm="r", l="c"`},
		{"a line break", "a\r\nb", []string{"a\nb"}, `Bearer realm="r"`},
		{"an element with a space", "", []string{"a b", "c", ""}, `Bearer realm="r", l="c"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c refusal.Challenge
			c.Begin("Bearer", "r")
			c.Add("v", tt.value)
			c.AddList("l", tt.list)
			if got := c.String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBody(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		text         string
		want         map[string]string
	}{
		{"plain", "expired", "token expired", map[string]string{"error": "e", "error_description": "token expired", "reason": "expired"}},
		{"no reason", "", "text", map[string]string{"error": "e", "error_description": "text"}},
		{"characters to escape", "a\"\n\u00e4", "b", map[string]string{"error": "e", "error_description": "b", "reason": "a\"\n\u00e4"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := refusal.Body("e", tt.text, tt.reason)
			var got map[string]string
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}
