// Package deepcopy copies values that were decoded from JSON.
package deepcopy

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Kind says how values of a type can be copied.
type Kind uint8

const (
	Flat       Kind = iota // an assignment copies everything
	Nested                 // Detach copies what an assignment shares
	Impossible             // the type has unexported references or builds itself
)

// KindOf returns how values of type t can be copied.
func KindOf(t reflect.Type) Kind { return kindOf(t, nil) }

func kindOf(t reflect.Type, outer []reflect.Type) Kind {
	if slices.Contains(outer, t) {
		return Impossible // a type that contains itself
	}
	kind := kindOfParts(t, append(slices.Clip(outer), t))
	if kind == Nested && decodesItself(t) {
		return Impossible
	}
	return kind
}

func kindOfParts(t reflect.Type, outer []reflect.Type) Kind {
	switch t.Kind() {
	case reflect.Struct:
		return kindOfStruct(t, outer)
	case reflect.Array:
		return kindOf(t.Elem(), outer)
	case reflect.Pointer, reflect.Slice:
		return max(Nested, kindOf(t.Elem(), outer))
	case reflect.Map:
		if kindOf(t.Key(), outer) != Flat {
			return Impossible
		}
		return max(Nested, kindOf(t.Elem(), outer))
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return Nested // encoding/json puts nothing but maps and slices there
		}
		return Impossible
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return Impossible
	}
	return Flat
}

func kindOfStruct(t reflect.Type, outer []reflect.Type) Kind {
	if t == reflect.TypeFor[time.Time]() {
		return Flat // its Location is immutable
	}
	kind := Flat
	for i := range t.NumField() {
		field := t.Field(i)
		k := kindOf(field.Type, outer)
		if k != Flat && !field.IsExported() {
			return Impossible
		}
		kind = max(kind, k)
	}
	return kind
}

// decodesItself reports whether t has a method that could build something else
// than copies of its fields.
func decodesItself(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[jwt.ClaimStrings](), reflect.TypeFor[jwt.NumericDate]():
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// Detach replaces everything that v refers to by a copy. The type of v must be
// Nested, and v must be settable.
func Detach(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Field(i); field.CanSet() {
				Detach(field)
			}
		}
	case reflect.Array:
		detachElements(v)
	case reflect.Pointer:
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(v.Elem())
			Detach(p.Elem())
			v.Set(p)
		}
	case reflect.Slice:
		if !v.IsNil() {
			s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(s, v)
			detachElements(s)
			v.Set(s)
		}
	case reflect.Map:
		if !v.IsNil() {
			v.Set(copyMap(v))
		}
	case reflect.Interface:
		if !v.IsNil() {
			v.Set(copyOf(v.Elem()))
		}
	}
}

func detachElements(v reflect.Value) {
	switch v.Type().Elem().Kind() {
	case reflect.Struct, reflect.Array, reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		for i := range v.Len() {
			Detach(v.Index(i))
		}
	}
}

func copyMap(v reflect.Value) reflect.Value {
	m := reflect.MakeMapWithSize(v.Type(), v.Len())
	for entries := v.MapRange(); entries.Next(); {
		m.SetMapIndex(entries.Key(), copyOf(entries.Value()))
	}
	return m
}

func copyOf(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	Detach(c)
	return c
}
