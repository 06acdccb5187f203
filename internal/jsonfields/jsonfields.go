// Package jsonfields decodes the members that strictjson has found into a struct,
// with the same result as encoding/json and in a fraction of its time.
package jsonfields

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
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Decoder decodes into structs of one type. It is immutable and safe for
// concurrent use.
type Decoder struct {
	names  *strictjson.Names
	fields []field
}

// field is a field of the struct, and the member that is decoded into it.
type field struct {
	name  string
	value int   // index of the member in Names
	index []int // of the field, for reflect

	// set decodes the member and reports whether it could. It is nil for types
	// that are left to encoding/json.
	set func(to reflect.Value, v strictjson.Value) bool
}

// New returns a Decoder for the struct type t, whose Names have the strict ones,
// those of the fields, and others. It returns false for a type that has to be left to encoding/json: names
// that collide, embedded pointers, types that decode themselves, the option
// "string" and unusual characters in a tag follow finer rules there.
func New(t reflect.Type, strict []string, others ...string) (*Decoder, bool) {
	fields, ok := structFields(t, nil, nil)
	if !ok {
		return nil, false
	}
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].name
	}
	d := &Decoder{strictjson.NewNames(strict, append(names, others...)), fields}
	for i := range fields {
		f := &d.fields[i]
		f.value = d.names.Index(f.name)
		f.set = setter(t.FieldByIndex(f.index).Type)
	}
	return d, true
}

// Names returns the names to pass to strictjson.Parse.
func (d *Decoder) Names() *strictjson.Names { return d.names }

// Decode decodes values, which strictjson.Parse has found for Names, into the
// struct to.
func (d *Decoder) Decode(values []strictjson.Value, to reflect.Value) error {
	for i := range d.fields {
		f := &d.fields[i]
		v := values[f.value]
		if v.Kind == strictjson.Absent {
			continue
		}
		field := to.FieldByIndex(f.index)
		if f.set != nil && f.set(field, v) {
			continue
		}
		if err := json.Unmarshal([]byte(v.Text), field.Addr().Interface()); err != nil {
			return fmt.Errorf("claim %q: %w", f.name, err)
		}
	}
	return nil
}

// DecodesObject reports whether encoding/json can decode an object into a t.
func DecodesObject(t reflect.Type) bool {
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

// structFields appends the fields of a struct that encoding/json decodes into.
func structFields(t reflect.Type, fields []field, outer []int) ([]field, bool) {
	if t.Kind() != reflect.Struct || decodesItself(t) {
		return nil, false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		index := append(slices.Clip(outer), i)
		switch {
		case tag == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			var ok bool
			if fields, ok = structFields(f.Type, fields, index); !ok {
				return nil, false
			}
			continue
		case f.Anonymous || strings.Contains(options, "string") || strings.ContainsFunc(name, isUnusual):
			return nil, false
		case name == "":
			name = f.Name
		}
		if slices.ContainsFunc(fields, func(other field) bool { return strings.EqualFold(name, other.name) }) {
			return nil, false
		}
		fields = append(fields, field{name: name, index: index})
	}
	return fields, true
}

// isUnusual reports whether encoding/json may ignore a tag with r in its name.
func isUnusual(r rune) bool {
	return !(r < 0x80 && syntax.IsAlphanumeric(byte(r))) && !strings.ContainsRune("_-./:", r)
}

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// setter returns how to decode a member into a field of type t without
// encoding/json. The result is the same, or the setter reports false.
func setter(t reflect.Type) func(reflect.Value, strictjson.Value) bool {
	switch t {
	case reflect.TypeFor[*jwt.NumericDate]():
		return setDate
	case reflect.TypeFor[jwt.ClaimStrings]():
		return setClaimStrings
	case reflect.TypeFor[[]string]():
		return setStrings
	case reflect.TypeFor[json.Number]():
		return nil
	}
	if decodesItself(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return setString
	case reflect.Bool:
		return setBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return setInt
	}
	return nil
}

func setString(to reflect.Value, v strictjson.Value) bool {
	s, ok := v.Unquote()
	if ok {
		to.SetString(s)
	}
	return ok
}

func setBool(to reflect.Value, v strictjson.Value) bool {
	if v.Kind == strictjson.Bool {
		to.SetBool(v.Text == "true")
	}
	return v.Kind == strictjson.Bool
}

func setInt(to reflect.Value, v strictjson.Value) bool {
	n, err := strconv.ParseInt(v.Text, 10, to.Type().Bits())
	if err == nil {
		to.SetInt(n)
	}
	return err == nil
}

func setStrings(to reflect.Value, v strictjson.Value) bool {
	list, ok := v.Strings()
	if ok {
		*to.Addr().Interface().(*[]string) = list
	}
	return ok
}

func setClaimStrings(to reflect.Value, v strictjson.Value) bool {
	list, ok := v.Strings()
	if len(list) == 0 {
		list = nil // golang-jwt makes no empty slice
	}
	if s, isString := v.Unquote(); isString {
		list, ok = []string{s}, true
	}
	if ok {
		*to.Addr().Interface().(*jwt.ClaimStrings) = list
	}
	return ok
}

// setDate leaves fractions to golang-jwt, which rounds them by its own setting.
func setDate(to reflect.Value, v strictjson.Value) bool {
	text, ok := v.Integer()
	seconds, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || seconds < 0 || seconds > 1<<40 {
		return false
	}
	*to.Addr().Interface().(**jwt.NumericDate) = jwt.NewNumericDate(time.Unix(seconds, 0))
	return true
}
