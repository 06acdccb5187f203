// Package cause makes the errors that say in logs why a token was refused. They
// match the errors of golang-jwt. They are formatted when somebody reads them,
// because most refusals are not looked at.
package cause

import (
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

type cause struct {
	is     []error
	format string
	args   []any
}

func (c *cause) Error() string   { return fmt.Sprintf(c.format, c.args...) }
func (c *cause) Unwrap() []error { return c.is }

// Malformed returns an error that is jwt.ErrTokenMalformed.
func Malformed(format string, args ...any) error {
	return &cause{[]error{jwt.ErrTokenMalformed}, format, args}
}

// Unverifiable returns an error that is jwt.ErrTokenUnverifiable.
func Unverifiable(format string, args ...any) error {
	return &cause{[]error{jwt.ErrTokenUnverifiable}, format, args}
}

// Invalid returns an error about a claim. It is jwt.ErrTokenInvalidClaims, and
// is unless that is nil.
func Invalid(is error, format string, args ...any) error {
	return &cause{[]error{is, jwt.ErrTokenInvalidClaims}, format, args}
}

// Fixed returns an error with a text and the given errors.
func Fixed(text string, is ...error) error { return &cause{is, "%s", []any{text}} }
