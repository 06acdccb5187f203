package jwthttp

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// How claims become a T: decoding, validating, and copying those that a cache
// shares.

// claimsType is what New finds out about a T once.
type claimsType struct {
	key  any                         // under which a context has the claims
	make func() (any, reflect.Value) // a new *claims[T], and the T in it

	// names are what to look for in a payload: claimNames, and T's own after
	// them. fields are T's, unless whole says that encoding/json decodes the
	// payload as it stands.
	names  *strictjson.Names
	fields []claimField
	whole  bool

	validate func(claims any) error // asks their Validate; nil without one

	// copy makes a copy of cached claims. It is nil where a plain copy of a T
	// will do, and where decodeAgain says that each request needs claims
	// decoded for it.
	copy        func(claims any) any
	decodeAgain bool
}

func newClaimsType[T any]() *claimsType {
	t := reflect.TypeFor[T]()
	c := &claimsType{key: claimsKey[T]{}, make: func() (any, reflect.Value) {
		box := new(claims[T])
		return box, reflect.ValueOf(&box.value).Elem()
	}}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var ok bool
	c.fields, ok = structFields(t, nil, nil)
	c.whole = !ok
	var names []string
	for _, field := range c.fields {
		names = append(names, field.name)
	}
	c.names = strictjson.NewNames(claimNames[:], names)
	for i := range c.fields {
		field := &c.fields[i]
		field.value = c.names.Index(field.name)
		field.set = quickSetter(t.FieldByIndex(field.index).Type, field.value)
	}
	if hasValidate(reflect.TypeFor[T]()) {
		c.validate = validateClaims[T]
	}
	c.copy, ok = claimsCopier[T]()
	c.decodeAgain = !ok
	return c
}

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

// decode makes a *claims[T] of a payload whose members were found already.
func (c *claimsType) decode(t *Token, payload string, values []strictjson.Value) (any, error) {
	if c.whole {
		return c.decodeWhole([]byte(payload))
	}
	box, to := c.make()
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	for i := range c.fields {
		if err := c.fields[i].decode(to, t, values); err != nil {
			return box, err
		}
	}
	return box, nil
}

func (c *claimsType) decodeWhole(payload []byte) (any, error) {
	box, to := c.make()
	return box, json.Unmarshal(payload, to.Addr().Interface())
}

// claimField is a field of a struct T, and the member that is decoded into it.
type claimField struct {
	name  string
	value int   // of the member, in claimsType.names
	index []int // of the field, for reflect

	// set is a quick way to decode what it reports true for. What it does
	// not, encoding/json decodes. It is nil if there is none.
	set func(to reflect.Value, v strictjson.Value, t *Token) bool
}

func (f *claimField) decode(to reflect.Value, t *Token, values []strictjson.Value) error {
	v := values[f.value]
	if v.Kind == strictjson.Absent {
		return nil
	}
	to = to.FieldByIndex(f.index)
	if f.set != nil && f.set(to, v, t) {
		return nil
	}
	if err := json.Unmarshal([]byte(v.Text), to.Addr().Interface()); err != nil {
		return fmt.Errorf("claim %q: %w", f.name, err)
	}
	return nil
}

// structFields appends the fields of a struct that encoding/json decodes into.
// It returns false unless each takes one member, as everybody would expect.
// What encoding/json has finer rules for is left to it: names that collide,
// embedded pointers, types that decode themselves, the option "string", odd
// characters in a tag.
func structFields(t reflect.Type, fields []claimField, outer []int) ([]claimField, bool) {
	if t.Kind() != reflect.Struct || decodesItself(t) {
		return nil, false
	}
	for i := range t.NumField() {
		field := t.Field(i)
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		index := append(slices.Clip(outer), i)
		switch {
		case tag == "-" || !field.IsExported() && !field.Anonymous:
			continue
		case field.Anonymous && name == "":
			var ok bool
			if fields, ok = structFields(field.Type, fields, index); !ok {
				return nil, false
			}
			continue
		case field.Anonymous || strings.Contains(options, "string") || strings.ContainsFunc(name, isOdd):
			return nil, false
		case name == "":
			name = field.Name
		}
		if slices.ContainsFunc(fields, func(other claimField) bool { return strings.EqualFold(name, other.name) }) {
			return nil, false
		}
		fields = append(fields, claimField{name: name, index: index})
	}
	return fields, true
}

// isOdd reports whether encoding/json may ignore a tag with r in its name.
func isOdd(r rune) bool {
	return !(r < 0x80 && isAlphanumeric(byte(r))) && !strings.ContainsRune("_-./:", r)
}

// quickSetter returns how to decode a member into a field of type t: without
// encoding/json for what most claims are, and for the registered ones with what
// the Token has of them. It does for each value what encoding/json would do.
func quickSetter(t reflect.Type, member int) func(reflect.Value, strictjson.Value, *Token) bool {
	switch {
	case t == reflect.TypeFor[*jwt.NumericDate]():
		return dateSetter(member)
	case t == reflect.TypeFor[jwt.ClaimStrings]() && member == claimAud:
		return func(to reflect.Value, _ strictjson.Value, t *Token) bool {
			*to.Addr().Interface().(*jwt.ClaimStrings) = append(jwt.ClaimStrings(nil), t.Audience...)
			return true
		}
	case t == reflect.TypeFor[[]string]():
		return func(to reflect.Value, v strictjson.Value, _ *Token) bool {
			list, ok := v.Strings()
			*to.Addr().Interface().(*[]string) = list
			return ok
		}
	case decodesItself(t) || t == reflect.TypeFor[json.Number]():
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(to reflect.Value, v strictjson.Value, _ *Token) bool {
			s, ok := v.Unquote()
			to.SetString(s)
			return ok
		}
	case reflect.Bool:
		return func(to reflect.Value, v strictjson.Value, _ *Token) bool {
			to.SetBool(v.Text == "true")
			return v.Kind == strictjson.Bool
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(to reflect.Value, v strictjson.Value, _ *Token) bool {
			n, err := strconv.ParseInt(v.Text, 10, t.Bits()) // of a JSON value: no sign or underscore of Go's own
			to.SetInt(n)
			return err == nil
		}
	}
	return nil
}

// dateSetter sets the date that the Token has read.
func dateSetter(member int) func(reflect.Value, strictjson.Value, *Token) bool {
	var of func(*Token) time.Time
	switch member {
	case claimExp:
		of = func(t *Token) time.Time { return t.ExpiresAt }
	case claimNbf:
		of = func(t *Token) time.Time { return t.NotBefore }
	case claimIat:
		of = func(t *Token) time.Time { return t.IssuedAt }
	default:
		return nil
	}
	return func(to reflect.Value, _ strictjson.Value, t *Token) bool {
		*to.Addr().Interface().(**jwt.NumericDate) = jwt.NewNumericDate(of(t).Local()) // as golang-jwt decodes it
		return true
	}
}

func hasValidate(t reflect.Type) bool {
	v := reflect.TypeFor[validator]()
	return t.Implements(v) || reflect.PointerTo(t).Implements(v)
}

type validator interface{ Validate() error }

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
	detach, ok := detacher(reflect.TypeFor[T](), nil)
	switch {
	case !ok:
		return nil, false
	case detach == nil && !hasValidate(reflect.TypeFor[T]()):
		return nil, true
	}
	return func(from any) any {
		c := &claims[T]{from.(*claims[T]).value}
		if detach != nil {
			detach(reflect.ValueOf(&c.value).Elem())
		}
		return c
	}, true
}

// detachFunc replaces what a value refers to by a copy.
type detachFunc func(reflect.Value)

// detacher returns the detachFunc of a type; nil if its values refer to nothing
// that can be changed; and false if it cannot be done from outside: for
// unexported references, for a type that contains itself, and for one that
// decodes itself and may have built anything.
func detacher(t reflect.Type, outer []reflect.Type) (detachFunc, bool) {
	if slices.Contains(outer, t) {
		return nil, false
	}
	f, ok := detacherOfKind(t, append(slices.Clip(outer), t))
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

func detacherOfKind(t reflect.Type, outer []reflect.Type) (detachFunc, bool) {
	switch t { // the most common by far, without reflect's detours
	case reflect.TypeFor[[]string]():
		return func(v reflect.Value) {
			list := v.Addr().Interface().(*[]string)
			*list = slices.Clone(*list)
		}, true
	case reflect.TypeFor[jwt.ClaimStrings]():
		return func(v reflect.Value) {
			list := v.Addr().Interface().(*jwt.ClaimStrings)
			*list = slices.Clone(*list)
		}, true
	case reflect.TypeFor[*jwt.NumericDate]():
		return func(v reflect.Value) {
			if date := v.Addr().Interface().(**jwt.NumericDate); *date != nil {
				own := **date
				*date = &own
			}
		}, true
	}
	switch t.Kind() {
	case reflect.Struct:
		return structDetacher(t, outer)
	case reflect.Pointer:
		element, ok := detacher(t.Elem(), outer)
		return func(v reflect.Value) { detachPointer(element, v) }, ok
	case reflect.Slice:
		element, ok := detacher(t.Elem(), outer)
		return func(v reflect.Value) { detachSlice(element, v) }, ok
	case reflect.Map:
		key, ok := detacher(t.Key(), outer)
		element, ok2 := detacher(t.Elem(), outer)
		return func(v reflect.Value) { detachMap(element, v) }, ok && ok2 && key == nil
	case reflect.Interface:
		return detachInterface, t.NumMethod() == 0
	case reflect.Array:
		element, ok := detacher(t.Elem(), outer)
		return nil, ok && element == nil
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return nil, false
	}
	return nil, true
}

func structDetacher(t reflect.Type, outer []reflect.Type) (detachFunc, bool) {
	if t == reflect.TypeFor[time.Time]() {
		return nil, true // its pointer is to a Location, which never changes
	}
	type part struct {
		field  int
		detach detachFunc
	}
	var parts []part
	for i := range t.NumField() {
		field := t.Field(i)
		detach, ok := detacher(field.Type, outer)
		if !ok || detach != nil && !field.IsExported() {
			return nil, false
		}
		if detach != nil {
			parts = append(parts, part{i, detach})
		}
	}
	if len(parts) == 0 {
		return nil, true
	}
	return func(v reflect.Value) {
		for _, p := range parts {
			p.detach(v.Field(p.field))
		}
	}, true
}

func detachPointer(element detachFunc, v reflect.Value) {
	if v.IsNil() {
		return
	}
	p := reflect.New(v.Type().Elem())
	p.Elem().Set(v.Elem())
	if element != nil {
		element(p.Elem())
	}
	v.Set(p)
}

func detachSlice(element detachFunc, v reflect.Value) {
	if v.IsNil() {
		return
	}
	list := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	reflect.Copy(list, v)
	for i := 0; element != nil && i < list.Len(); i++ {
		element(list.Index(i))
	}
	v.Set(list)
}

func detachMap(element detachFunc, v reflect.Value) {
	if v.IsNil() {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), v.Len())
	for entries := v.MapRange(); entries.Next(); {
		value := reflect.New(v.Type().Elem()).Elem()
		value.Set(entries.Value())
		if element != nil {
			element(value)
		}
		m.SetMapIndex(entries.Key(), value)
	}
	v.Set(m)
}

// detachInterface copies what encoding/json puts into an interface.
func detachInterface(v reflect.Value) {
	if c := copyJSON(v.Interface()); c != nil {
		v.Set(reflect.ValueOf(c))
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
