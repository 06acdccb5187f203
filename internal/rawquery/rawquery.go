// Package rawquery finds and removes parameters of a URL query without touching
// its other bytes.
package rawquery

import (
	"net/http"
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

// Values returns the decoded values of a parameter, and how many parameters the
// query has. It stops at the first one above most, and returns no values then.
func Values(query, param string, most int) (values []string, total int) {
	for pair := range strings.SplitSeq(query, "&") {
		if total++; total > most {
			return nil, total
		}
		if Is(pair, param) {
			values = append(values, Value(pair))
		}
	}
	return values, total
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

// Request returns r without the given query parameters in URL, RequestURI
// and, if it was parsed before, Form. It does not modify r. If r has no such
// parameter, it is returned as it is.
func Request(r *http.Request, params []string) *http.Request {
	if len(params) == 0 {
		return r
	}
	query, found := Without(r.URL.RawQuery, params)
	if !found {
		return r
	}
	clean := r.WithContext(r.Context())
	u := *r.URL
	u.RawQuery = query
	clean.URL = &u
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		clean.RequestURI = path
		if query, _ = Without(query, params); query != "" {
			clean.RequestURI += "?" + query
		}
	}
	if r.Form != nil {
		clean.Form = formWithout(r, params)
	}
	return clean
}

// formWithout returns r.Form without query parameters. Fields of the body stay.
func formWithout(r *http.Request, params []string) url.Values {
	form := make(url.Values, len(r.Form))
	for name, values := range r.Form {
		form[name] = values
	}
	for _, name := range params {
		if fromBody := r.PostForm[name]; len(fromBody) > 0 {
			form[name] = fromBody
		} else {
			delete(form, name)
		}
	}
	return form
}
