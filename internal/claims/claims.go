// Package claims decodes the payload of a token into a type, and copies what it
// has decoded.
package claims

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/seed450a7203/jwthttp/internal/deepcopy"
	"github.com/seed450a7203/jwthttp/internal/jsonfields"
	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// Box holds a T, so that a look-up of an interface type finds only what was
// stored for that type.
type Box[T any] struct{ Value T }

// Type is what is known about a T. Its methods take and return a *Box[T] as an
// any. It is immutable and safe for concurrent use.
type Type struct {
	Names *strictjson.Names // of the members that Decode needs

	decoder     *jsonfields.Decoder                  // nil: encoding/json decodes
	box         func() (boxed any, to reflect.Value) // an empty *Box[T], and its T
	copy        func(any) any                        // nil: an own copy is not needed
	decodeAgain bool                                 // copies cannot be made
	validate    func(any) error                      // nil: T has no Validate
}

// TypeFor returns the Type of T. A T that no JSON object decodes into is an error.
func TypeFor[T any]() (*Type, error) {
	t := reflect.TypeFor[T]()
	if !jsonfields.DecodesObject(t) {
		return nil, fmt.Errorf("jwthttp: T: %q: a JSON object does not decode into it", t)
	}
	c := &Type{box: newBox[T]}
	c.Names = strictjson.NewNames(jws.ClaimNames(), []string{jws.TenantIDName})
	structType := t
	if t.Kind() == reflect.Pointer {
		structType = t.Elem()
	}
	if decoder, ok := jsonfields.New(structType, jws.ClaimNames(), jws.TenantIDName); ok {
		c.Names, c.decoder = decoder.Names(), decoder
	}
	if validator := reflect.TypeFor[validator](); t.Implements(validator) || reflect.PointerTo(t).Implements(validator) {
		c.validate = validate[T]
	}
	switch kind := deepcopy.KindOf(t); {
	case kind == deepcopy.Impossible:
		c.decodeAgain = true
	case kind == deepcopy.Nested:
		c.copy = func(shared any) any {
			own := assign[T](shared)
			deepcopy.Detach(reflect.ValueOf(&own.Value).Elem())
			return own
		}
	case c.validate != nil: // it may change the T
		c.copy = func(shared any) any { return assign[T](shared) }
	}
	return c, nil
}

func newBox[T any]() (any, reflect.Value) {
	b := new(Box[T])
	return b, reflect.ValueOf(&b.Value).Elem()
}

// Values returns a list for the values of Names, which is part of stack if they
// fit there.
func (c *Type) Values(stack *[32]strictjson.Value) []strictjson.Value {
	if n := c.Names.Len(); n > len(stack) {
		return make([]strictjson.Value, n)
	}
	return stack[:c.Names.Len()]
}

// Decode decodes a payload, in which strictjson has found the values of Names.
func (c *Type) Decode(payload string, values []strictjson.Value) (any, error) {
	if c.decoder == nil {
		return c.decodeWhole([]byte(payload))
	}
	boxed, to := c.box()
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	if err := c.decoder.Decode(values, to); err != nil {
		return nil, err
	}
	return boxed, nil
}

// decodeWhole decodes a payload with encoding/json.
func (c *Type) decodeWhole(payload []byte) (any, error) {
	boxed, to := c.box()
	if err := json.Unmarshal(payload, to.Addr().Interface()); err != nil {
		return nil, err
	}
	return boxed, nil
}

func assign[T any](shared any) *Box[T] { return &Box[T]{shared.(*Box[T]).Value} }

// Own returns a copy, for one request, of what Decode has returned for the
// compact token raw.
func (c *Type) Own(shared any, raw string) (any, error) {
	switch {
	case c.decodeAgain:
		return c.decodeWhole(jws.Segment(raw, 1))
	case c.copy != nil:
		return c.copy(shared), nil
	}
	return shared, nil
}

// Validate calls Validate of the T, if it has the method.
func (c *Type) Validate(own any) error {
	if c.validate == nil {
		return nil
	}
	return c.validate(own)
}

type validator interface{ Validate() error }

func validate[T any](own any) error {
	value := &own.(*Box[T]).Value
	if v, ok := any(value).(validator); ok {
		return v.Validate()
	}
	return any(*value).(validator).Validate() // T is a pointer
}
