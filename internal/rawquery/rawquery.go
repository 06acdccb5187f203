// Package rawquery finds and removes parameters of a raw URL query without
// touching the other bytes.
package rawquery

import (
	"net/url"
	"slices"
	"strings"
)

// Is reports whether a pair of a raw query is the parameter of that name.
func Is(pair, param string) bool {
	key, _, _ := strings.Cut(pair, "=")
	if !strings.ContainsAny(key, "%+") {
		return key == param
	}
	if len(key) < len(param) || len(key) > 3*len(param) {
		return false // an escape has three bytes for one
	}
	plain, err := url.QueryUnescape(key)
	return err == nil && plain == param
}

// Value returns the decoded value of a pair. A value that is too long to decode
// for a stranger, or that cannot be decoded, is returned as it is, with its "%".
func Value(pair string) string {
	_, value, _ := strings.Cut(pair, "=")
	if len(value) > 1<<16 {
		return value
	}
	plain, err := url.QueryUnescape(value)
	if err != nil {
		return value
	}
	return plain
}

// Without removes parameters from a raw query, and reports whether there were
// any. The other bytes stay, because a signature may cover them.
func Without(query string, params []string) (rest string, found bool) {
	cut := func(pair string) bool {
		return slices.ContainsFunc(params, func(param string) bool { return Is(pair, param) })
	}
	for pair := range strings.SplitSeq(query, "&") {
		found = found || cut(pair)
	}
	if !found {
		return query, false
	}
	var kept strings.Builder
	separator := ""
	for pair := range strings.SplitSeq(query, "&") {
		if !cut(pair) {
			kept.WriteString(separator + pair)
			separator = "&"
		}
	}
	return kept.String(), true
}
