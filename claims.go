package jwthttp

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// How claims become a T: decoding, validating, and copying those that a cache
// shares.

// decodesObject reports whether encoding/json can decode an object into a t.
func decodesObject(t reflect.Type) bool {
	unmarshaler := reflect.TypeFor[json.Unmarshaler]()
	if t.Kind() == reflect.Pointer && !t.Implements(unmarshaler) {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		return true
	case reflect.Map:
		return t.Key().Kind() == reflect.String
	case reflect.Interface:
		return t.NumMethod() == 0
	}
	return t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)
}

// decodesNothing reports whether t is a struct without fields and methods, for
// handlers that read the Token only.
func decodesNothing(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.NumField() == 0 && reflect.PointerTo(t).NumMethod() == 0
}

type validator interface{ Validate() error }

// claimsDecoder returns what makes a *claims[T] of a verified payload.
func claimsDecoder[T any]() func(*Token, []byte) (any, error) {
	t := reflect.TypeFor[T]()
	if decodesNothing(t) {
		return func(*Token, []byte) (any, error) { return new(claims[T]), nil }
	}
	if p, ok := splitRegistered(t); ok {
		return func(token *Token, payload []byte) (any, error) {
			c := new(claims[T])
			return c, p.decode(token, payload, reflect.ValueOf(&c.value).Elem())
		}
	}
	return func(_ *Token, payload []byte) (any, error) {
		c := new(claims[T])
		return c, json.Unmarshal(payload, &c.value)
	}
}

// registeredSplit decodes into a struct that embeds jwt.RegisteredClaims, as
// most do: these were read already, and golang-jwt decodes each date and
// audience in a run of encoding/json of its own.
type registeredSplit struct {
	embedded int          // the field's index
	rest     reflect.Type // a struct of the other fields
	fields   []int        // where they belong
}

// splitRegistered returns false if t is anything but a plain struct with
// jwt.RegisteredClaims embedded, whose other fields take none of its members.
func splitRegistered(t reflect.Type) (p registeredSplit, ok bool) {
	registered := reflect.TypeFor[jwt.RegisteredClaims]()
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) || registered.NumField() != 7 {
		return p, false
	}
	p.embedded = -1
	var fields []reflect.StructField
	for i := range t.NumField() {
		field := t.Field(i)
		switch {
		case field.Anonymous && field.Type == registered && field.Tag.Get("json") == "" && p.embedded < 0:
			p.embedded = i
		case field.Anonymous && !isPlainGroup(field) || takesRegistered(field):
			return p, false
		case field.IsExported():
			fields = append(fields, reflect.StructField{Name: field.Name, Type: field.Type, Tag: field.Tag, Anonymous: field.Anonymous})
			p.fields = append(p.fields, i)
		}
	}
	if p.embedded < 0 {
		return p, false
	}
	p.rest = reflect.StructOf(fields)
	return p, true
}

// isPlainGroup reports whether an embedded field is a struct of plain fields
// that take no registered claim.
func isPlainGroup(field reflect.StructField) bool {
	t := field.Type
	if !field.IsExported() || t.Kind() != reflect.Struct || field.Tag != "" || reflect.PointerTo(t).NumMethod() > 0 {
		return false
	}
	for i := range t.NumField() {
		if inner := t.Field(i); inner.Anonymous || takesRegistered(inner) {
			return false
		}
	}
	return true
}

// takesRegistered reports whether encoding/json could decode a registered claim into field.
func takesRegistered(field reflect.StructField) bool {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if name == "" {
		name = field.Name
	}
	return slices.ContainsFunc(claimNames[:claimJti+1], func(claim string) bool { return strings.EqualFold(claim, name) })
}

func (p registeredSplit) decode(t *Token, payload []byte, to reflect.Value) error {
	rest := reflect.New(p.rest)
	if err := json.Unmarshal(payload, rest.Interface()); err != nil {
		return err
	}
	for i, field := range p.fields {
		to.Field(field).Set(rest.Elem().Field(i))
	}
	*to.Field(p.embedded).Addr().Interface().(*jwt.RegisteredClaims) = jwt.RegisteredClaims{
		Issuer: t.Issuer, Subject: t.Subject, ID: t.ID, Audience: append(jwt.ClaimStrings(nil), t.Audience...),
		ExpiresAt: localDate(t.ExpiresAt), NotBefore: localDate(t.NotBefore), IssuedAt: localDate(t.IssuedAt),
	}
	return nil
}

// localDate is a date as golang-jwt decodes it.
func localDate(t time.Time) *jwt.NumericDate {
	if t.IsZero() {
		return nil
	}
	return jwt.NewNumericDate(t.Local())
}

func hasValidate(t reflect.Type) bool {
	v := reflect.TypeFor[validator]()
	return t.Implements(v) || reflect.PointerTo(t).Implements(v)
}

func validateClaims[T any](boxed any) error {
	value := &boxed.(*claims[T]).value
	if v, ok := any(value).(validator); ok {
		return v.Validate()
	}
	return any(*value).(validator).Validate() // T is a pointer
}

// claimsCopier returns a function that copies a *claims[T], and nil if a plain
// copy of a T shares nothing that can be changed. It returns false for a T that
// cannot be copied field by field; that is decoded again.
func claimsCopier[T any]() (func(any) any, bool) {
	copyValue, ok := copier(reflect.TypeFor[T](), nil)
	switch {
	case !ok:
		return nil, false
	case copyValue == nil && !hasValidate(reflect.TypeFor[T]()):
		return nil, true
	}
	return func(from any) any {
		c := new(claims[T])
		assign(copyValue, reflect.ValueOf(&c.value).Elem(), reflect.ValueOf(&from.(*claims[T]).value).Elem())
		return c
	}, true
}

// copyFunc sets one value to a copy of another of its type.
type copyFunc func(to, from reflect.Value)

// copier returns what copies values of type t, nil if assigning does, and
// false if that cannot be done from outside: for unexported references, for a
// type that contains itself, and for one that decodes itself and may have
// built anything.
func copier(t reflect.Type, outer []reflect.Type) (copyFunc, bool) {
	if slices.Contains(outer, t) {
		return nil, false
	}
	f, ok := copierOfKind(t, append(slices.Clip(outer), t))
	if f != nil && decodesItself(t) {
		return nil, false
	}
	return f, ok
}

// decodesItself reports whether t has an UnmarshalJSON or UnmarshalText that
// could build something else than its fields' copies.
func decodesItself(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[jwt.ClaimStrings](), reflect.TypeFor[jwt.NumericDate]():
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func copierOfKind(t reflect.Type, outer []reflect.Type) (copyFunc, bool) {
	switch t.Kind() {
	case reflect.Struct:
		return structCopier(t, outer)
	case reflect.Pointer:
		element, ok := copier(t.Elem(), outer)
		return func(to, from reflect.Value) {
			if !from.IsNil() {
				to.Set(reflect.New(t.Elem()))
				assign(element, to.Elem(), from.Elem())
			}
		}, ok
	case reflect.Slice:
		element, ok := copier(t.Elem(), outer)
		return func(to, from reflect.Value) { copySlice(element, to, from) }, ok
	case reflect.Map:
		key, ok := copier(t.Key(), outer)
		element, ok2 := copier(t.Elem(), outer)
		return func(to, from reflect.Value) { copyMap(element, to, from) }, ok && ok2 && key == nil
	case reflect.Interface:
		return copyInterface, t.NumMethod() == 0
	case reflect.Array:
		element, ok := copier(t.Elem(), outer)
		return nil, ok && element == nil
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return nil, false
	}
	return nil, true
}

func structCopier(t reflect.Type, outer []reflect.Type) (copyFunc, bool) {
	if t == reflect.TypeFor[time.Time]() {
		return nil, true // its pointer is to a Location, which never changes
	}
	fields := make(map[int]copyFunc)
	for i := range t.NumField() {
		field := t.Field(i)
		element, ok := copier(field.Type, outer)
		if !ok || element != nil && !field.IsExported() {
			return nil, false
		}
		if element != nil {
			fields[i] = element
		}
	}
	if len(fields) == 0 {
		return nil, true
	}
	return func(to, from reflect.Value) {
		to.Set(from)
		for i, element := range fields {
			to.Field(i).SetZero()
			element(to.Field(i), from.Field(i))
		}
	}, true
}

func assign(element copyFunc, to, from reflect.Value) {
	if element != nil {
		element(to, from)
		return
	}
	to.Set(from)
}

func copySlice(element copyFunc, to, from reflect.Value) {
	if from.IsNil() {
		return
	}
	to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
	if element == nil {
		reflect.Copy(to, from)
		return
	}
	for i := range from.Len() {
		element(to.Index(i), from.Index(i))
	}
}

func copyMap(element copyFunc, to, from reflect.Value) {
	if from.IsNil() {
		return
	}
	to.Set(reflect.MakeMapWithSize(from.Type(), from.Len()))
	for entries := from.MapRange(); entries.Next(); {
		value := reflect.New(from.Type().Elem()).Elem()
		assign(element, value, entries.Value())
		to.SetMapIndex(entries.Key(), value)
	}
}

// copyInterface copies what encoding/json puts into an interface.
func copyInterface(to, from reflect.Value) {
	if v := copyJSON(from.Interface()); v != nil {
		to.Set(reflect.ValueOf(v))
	}
}

func copyJSON(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = copyJSON(element)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, element := range v {
			object[name] = copyJSON(element)
		}
		return object
	}
	return v // a string, number or boolean, or nil
}
