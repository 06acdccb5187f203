package jwthttp

import (
	"encoding/json"
	"reflect"

	"github.com/seed450a7203/jwthttp/internal/deepcopy"
	"github.com/seed450a7203/jwthttp/internal/jsonfields"
	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// claims boxes a T, so that a look-up of an interface type finds only what was
// stored for that type.
type claims[T any] struct{ value T }

// claimsType is what New finds out about a T. Its functions take and return a
// *claims[T] as an any.
type claimsType struct {
	key   any // of the claims in a context
	names *strictjson.Names

	decoder     *jsonfields.Decoder                  // nil: encoding/json decodes
	box         func() (claims any, t reflect.Value) // an empty *claims[T], and its T
	copy        func(any) any                        // nil: an own copy is not needed
	decodeAgain bool                                 // copies cannot be made
	validate    func(any) error                      // nil: T has no Validate
}

func newClaimsType[T any]() *claimsType {
	t := reflect.TypeFor[T]()
	c := &claimsType{key: claimsKey[T]{}, box: newBox[T]}
	c.names = strictjson.NewNames(jws.ClaimNames(), []string{jws.TenantIDName})
	structType := t
	if t.Kind() == reflect.Pointer {
		structType = t.Elem()
	}
	if decoder, ok := jsonfields.New(structType, jws.ClaimNames(), jws.TenantIDName); ok {
		c.names, c.decoder = decoder.Names(), decoder
	}
	if validator := reflect.TypeFor[validator](); t.Implements(validator) || reflect.PointerTo(t).Implements(validator) {
		c.validate = validateClaims[T]
	}
	switch kind := deepcopy.KindOf(t); {
	case kind == deepcopy.Impossible:
		c.decodeAgain = true
	case kind == deepcopy.Nested:
		c.copy = func(shared any) any {
			own := assignClaims[T](shared)
			deepcopy.Detach(reflect.ValueOf(&own.value).Elem())
			return own
		}
	case c.validate != nil: // it may change the T
		c.copy = func(shared any) any { return assignClaims[T](shared) }
	}
	return c
}

func newBox[T any]() (any, reflect.Value) {
	c := new(claims[T])
	return c, reflect.ValueOf(&c.value).Elem()
}

// decode decodes a payload, whose members strictjson has found.
func (c *claimsType) decode(payload string, values []strictjson.Value) (any, error) {
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
func (c *claimsType) decodeWhole(payload []byte) (any, error) {
	boxed, to := c.box()
	if err := json.Unmarshal(payload, to.Addr().Interface()); err != nil {
		return nil, err
	}
	return boxed, nil
}

func assignClaims[T any](shared any) *claims[T] { return &claims[T]{shared.(*claims[T]).value} }

// own returns claims for one request that the cache does not share.
func (c *claimsType) own(v *verified) (any, error) {
	switch {
	case c.decodeAgain:
		return c.decodeWhole(jws.Segment(v.token.Raw(), 1))
	case c.copy != nil:
		return c.copy(v.claims), nil
	}
	return v.claims, nil
}

type validator interface{ Validate() error }

func validateClaims[T any](own any) error {
	value := &own.(*claims[T]).value
	if v, ok := any(value).(validator); ok {
		return v.Validate()
	}
	return any(*value).(validator).Validate() // T is a pointer
}
