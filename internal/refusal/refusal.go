// Package refusal formats what a refused client gets: challenges (RFC 9110
// §11.6.1) and a JSON body.
package refusal

import (
	"encoding/json"
	"strings"

	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Challenge is a challenge of a WWW-Authenticate field. Begin makes it usable.
type Challenge struct{ text strings.Builder }

// Begin begins the challenge of a scheme, with its realm.
func (c *Challenge) Begin(scheme, realm string) {
	c.text.Grow(192)
	c.write(scheme, ` realm="`, realm, `"`)
}

func (c *Challenge) write(parts ...string) {
	for _, part := range parts {
		c.text.WriteString(part)
	}
}

// Add adds a parameter. An empty value, and one that does not fit between double
// quotes, is left out.
func (c *Challenge) Add(name, value string) {
	if value != "" && syntax.FitsQuotedString(value) {
		c.write(", ", name, `="`, value, `"`)
	}
}

// AddList adds a list separated by spaces, such as a scope (RFC 6749 §3.3).
// Elements that are not a scope are left out.
func (c *Challenge) AddList(name string, values []string) {
	var list []string
	for _, value := range values {
		if syntax.IsScope(value) {
			list = append(list, value)
		}
	}
	c.Add(name, strings.Join(list, " "))
}

// String returns the value of the field.
func (c *Challenge) String() string { return c.text.String() }

// Body returns the JSON body of an error response. An empty reason is left out.
func Body(name, description, reason string) []byte {
	body := make([]byte, 0, 192)
	body = appendJSON(append(body, `{"error":`...), name)
	body = appendJSON(append(body, `,"error_description":`...), description)
	if reason != "" {
		body = appendJSON(append(body, `,"reason":`...), reason)
	}
	return append(body, "}\n"...)
}

// appendJSON appends s as a JSON string.
func appendJSON(body []byte, s string) []byte {
	if syntax.FitsQuotedString(s) {
		return append(append(append(body, '"'), s...), '"')
	}
	text, _ := json.Marshal(s) // strings always marshal
	return append(body, text...)
}
