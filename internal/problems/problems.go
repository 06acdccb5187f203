// Package problems collects everything that is wrong with a configuration, so
// that a constructor can report it at once.
package problems

import (
	"errors"
	"fmt"
	"reflect"
)

// List is a list of problems. The zero value is empty and has no prefix.
type List struct {
	Prefix string // begins each error, such as "jwthttp: "
	errs   []error
}

// Add adds a problem with the value of a field.
func (l *List) Add(field string, value any, format string, args ...any) {
	l.AddHidden(field, "%q: "+format, append([]any{fmt.Sprint(value)}, args...)...)
}

// AddHidden adds a problem without showing the value, which is missing or may
// hold a secret.
func (l *List) AddHidden(field, format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf(l.Prefix+field+": "+format, args...))
}

// CheckNames adds a problem with the text want for an empty list, for an empty
// name, and for one that is reserved.
func (l *List) CheckNames(field string, names []string, reserved, want string) {
	if len(names) == 0 {
		l.AddHidden(field, "%s", want)
	}
	for _, name := range names {
		if name == "" || name == reserved {
			l.Add(field, name, "%s", want)
		}
	}
}

// Len returns the number of problems.
func (l *List) Len() int { return len(l.errs) }

// Err returns all problems as one error, or nil if the list is empty.
func (l *List) Err() error { return errors.Join(l.errs...) }

// IsNil reports whether an interface holds nothing or a nil.
func IsNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Interface, reflect.Slice:
		return r.IsNil()
	}
	return false
}
