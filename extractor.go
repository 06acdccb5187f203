package jwthttp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// Source is the kind of place a token came from. It decides about the guard
// against cross-site requests: all but SourceHeader and SourceQuery have it,
// since a browser may send those along unasked.
type Source uint8

// The kinds of places. The zero value is the guarded one, for extractors that do not say.
const (
	SourceOther Source = iota
	SourceHeader
	SourceCookie
	SourceQuery
)

// String returns the source's name: "other", "header", "cookie" or "query".
func (s Source) String() string {
	switch s {
	case SourceHeader:
		return "header"
	case SourceCookie:
		return "cookie"
	case SourceQuery:
		return "query"
	default:
		return "other"
	}
}

// Credential is a token as found in a request, before anything about it is
// believed. Printing it, logging it and encoding it as text leave the token out.
type Credential struct {
	// Token is the compact JWT. An empty one counts as not there.
	Token string
	// Name is that of the field, cookie or parameter. With SourceQuery it
	// names the parameter to take out of the URL.
	Name string
	// Source is the kind of place.
	Source Source

	// alsoQuery are further parameters to take out of the URL, since
	// FirstOf and OnlyOne found credentials in them too.
	alsoQuery []string
}

// String describes the credential without its token.
func (c Credential) String() string { return fmt.Sprintf("credential from %s %q", c.Source, c.Name) }

// Format prints String whatever the verb: with %d fmt would print the fields.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String, for log/slog.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, for encoding/json and other encodings.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Extractor finds the credential in a request. It must be safe for concurrent
// use, must not change the request, and should not read its body.
//
// It returns [ErrNoToken] to say: not here, look in the next place; a
// Credential with an empty Token says the same. [ErrMultipleTokens] and every
// other error (wrapped or not) is a 400: there is a credential here, and it is
// a bad one. Its text reaches logs, so it must not hold the token.
type Extractor func(*http.Request) (Credential, error)

// maxPairs is the number of cookies or parameters above which a request is
// refused. net/http drops the cookies of such a request, which would make it
// anonymous by accident.
const maxPairs = 3000

// FromHeader finds the token in the header field of the given name, behind the
// given authentication scheme, whose case does not matter (RFC 9110 §11.1). One
// or more spaces, and nothing else, may follow the scheme. With an empty scheme
// the field's whole value is the token, as in "X-Api-Token: eyJ...".
//
// A field with another scheme has no credential for us. Two fields of the name,
// equal or not, are an error, and so are two credentials joined by a comma.
//
// FromHeader panics if name is not a field name, or scheme neither empty nor a
// token (RFC 9110 §5.6.2).
func FromHeader(name, scheme string) Extractor {
	if !isToken(name) || scheme != "" && !isToken(scheme) {
		panic(fmt.Sprintf("jwthttp: FromHeader(%q, %q): not a header field and an authentication scheme", name, scheme))
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	return func(r *http.Request) (Credential, error) {
		// Header.Get would hide a second line.
		values := r.Header[name]
		if len(values) == 0 {
			return Credential{}, ErrNoToken
		}
		if len(values) > 1 {
			return Credential{}, ErrMultipleTokens
		}
		token, err := afterScheme(values[0], scheme)
		return Credential{Token: token, Name: name, Source: SourceHeader}, err
	}
}

// afterScheme returns what follows the scheme in a field's value.
func afterScheme(value, scheme string) (string, error) {
	rest := value
	if scheme != "" {
		var ok bool
		if rest, ok = cutScheme(value, scheme); !ok {
			return "", foreignScheme(value, scheme)
		}
		// Spaces only, not strings.TrimSpace: a tab or a no-break space here
		// is read differently by different servers (RFC 9110 §11.4).
		if rest = strings.TrimLeft(rest, " "); rest == "" {
			return "", errCredential
		}
	}
	if strings.IndexByte(rest, ',') >= 0 && isList(rest, scheme) {
		return "", ErrMultipleTokens
	}
	return rest, nil // whatever is in it: a wrong byte fails as no token68
}

// cutScheme returns what follows scheme in s if s has it, by itself or before
// a byte that no longer belongs to a scheme.
func cutScheme(s, scheme string) (rest string, ok bool) {
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", false
	}
	rest = s[len(scheme):]
	// A visible character makes it another word ("BearerX", "Bearer:x"). A
	// tab, a control or a byte above 0x7f does not: that is our scheme, badly
	// delimited.
	if rest != "" && rest[0] > ' ' && rest[0] < 0x7f {
		return "", false
	}
	return rest, true
}

// foreignScheme judges a value of another scheme: no credential for us, unless
// a proxy joined ours to it, as in "Basic x, Bearer y".
func foreignScheme(value, scheme string) error {
	_, value, joined := strings.Cut(value, ",")
	if !joined || strings.Contains(value, `"`) {
		return ErrNoToken // with quotes it is a list of parameters, as of Digest
	}
	for element := range strings.SplitSeq(value, ",") {
		if rest, ok := cutScheme(strings.TrimLeft(element, " \t"), scheme); ok && rest != "" {
			return ErrMultipleTokens
		}
	}
	return ErrNoToken
}

// isList reports whether every element of a comma-separated list is a
// credential by itself.
func isList(list, scheme string) bool {
	for element := range strings.SplitSeq(list, ",") {
		element = strings.Trim(element, " \t")
		if word, rest, ok := strings.Cut(element, " "); ok && scheme != "" && isToken(word) {
			element = strings.TrimLeft(rest, " ") // ours or another scheme
		}
		if !isToken68(element) {
			return false
		}
	}
	return true
}

// FromCookie finds the token in the cookie of the given name, whose case
// matters. Such a token is guarded by [Options].CrossOrigin. An empty cookie is
// absent; two cookies of the name, empty or not, are an error. Unlike net/http
// it does not pass over a cookie with odd characters in its value: that is a
// bad token, and no reason to go on as anonymous.
//
// FromCookie panics if name is not a cookie name.
func FromCookie(name string) Extractor {
	if !isToken(name) {
		panic(fmt.Sprintf("jwthttp: FromCookie(%q): not a cookie name", name))
	}
	return func(r *http.Request) (Credential, error) {
		c := Credential{Name: name, Source: SourceCookie}
		seen, total := 0, 0
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if total++; total > maxPairs {
					return Credential{}, errTooMany
				}
				key, value, _ := strings.Cut(pair, "=")
				if strings.Trim(key, " \t") == name {
					seen++
					c.Token = unquoteCookie(strings.Trim(value, " \t"))
				}
			}
		}
		return c, oneOf(seen, c.Token)
	}
}

// unquoteCookie takes off the double quotes that a cookie's value may have (RFC 6265 §4.1.1).
func unquoteCookie(value string) string {
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// oneOf judges how often a name was seen in a place where each may be once.
func oneOf(seen int, token string) error {
	switch {
	case seen > 1:
		return ErrMultipleTokens
	case token == "":
		return ErrNoToken
	}
	return nil
}

// FromQuery finds the token in the query parameter of the given name. It never
// reads a form in the body. An empty parameter is absent; two of the name are
// an error.
//
// A URL ends up in logs, histories and Referer fields, so use this only where
// a client cannot send a header, with tokens that live for seconds. The Handler
// takes the parameter out of the request's URL, RequestURI and Form for
// everything behind it, and leaves the other bytes of the query as they were;
// what runs before it, and every proxy, has seen the token.
//
// FromQuery panics if param is empty.
func FromQuery(param string) Extractor {
	if param == "" {
		panic("jwthttp: FromQuery: empty parameter name")
	}
	return func(r *http.Request) (Credential, error) {
		c := Credential{Name: param, Source: SourceQuery}
		seen, total := 0, 0
		for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
			if total++; total > maxPairs {
				return c, errTooMany
			}
			if isParam(pair, param) {
				seen++
				_, value, _ := strings.Cut(pair, "=")
				c.Token = unescapeToken(value)
			}
		}
		return c, oneOf(seen, c.Token)
	}
}

// unescapeToken decodes a parameter's value. What cannot be decoded, or is so
// long that decoding it would be an attacker's lever, stays as it is: its % is
// refused further on.
func unescapeToken(value string) string {
	if len(value) > 1<<16 {
		return value
	}
	plain, err := url.QueryUnescape(value)
	if err != nil {
		return value
	}
	return plain
}

// isParam reports whether a pair of a raw query is the parameter of that name.
func isParam(pair, param string) bool {
	key, _, _ := strings.Cut(pair, "=")
	if key == param {
		return true
	}
	if len(key) < len(param) || len(key) > 3*len(param) {
		return false // an escape takes three bytes for one
	}
	plain, err := url.QueryUnescape(key)
	return err == nil && plain == param
}

// FromWebSocketProtocol finds the token in the Sec-WebSocket-Protocol field of
// a WebSocket upgrade, as the entry made of the prefix and the token: the only
// field of an upgrade that a browser lets a script set. The server must not
// answer with that entry; give the client a second one and answer with that.
//
// FromWebSocketProtocol panics if prefix is not the beginning of a subprotocol's name.
func FromWebSocketProtocol(prefix string) Extractor {
	if !isToken(prefix) {
		panic(fmt.Sprintf("jwthttp: FromWebSocketProtocol(%q): not a prefix of a subprotocol", prefix))
	}
	const field = "Sec-Websocket-Protocol" // in the form of net/http
	return func(r *http.Request) (Credential, error) {
		if !isWebSocket(r) {
			return Credential{}, ErrNoToken
		}
		c := Credential{Name: field, Source: SourceHeader}
		seen := 0
		for _, line := range r.Header[field] {
			for entry := range strings.SplitSeq(line, ",") {
				if token, ok := strings.CutPrefix(strings.Trim(entry, " \t"), prefix); ok {
					seen++
					c.Token = token
				}
			}
		}
		if seen == 1 && c.Token == "" {
			return c, errCredential
		}
		return c, oneOf(seen, c.Token)
	}
}

// isWebSocket reports whether r opens a WebSocket, over HTTP/1.1 (RFC 6455
// §4.1) or as an extended CONNECT (RFC 8441 §4), which net/http shows as a field.
func isWebSocket(r *http.Request) bool {
	for _, field := range [...]string{"Upgrade", ":protocol"} {
		for _, line := range r.Header[field] {
			for protocol := range strings.SplitSeq(line, ",") {
				if strings.EqualFold(strings.Trim(protocol, " \t"), "websocket") {
					return true
				}
			}
		}
	}
	return false
}

// FirstOf looks in one place after the other. The first that has a credential
// decides, good or bad: a bad one never falls through to the next place. If the
// URL has a query, the later places are shown the URL alone: a token in there
// decides nothing, but must leave it.
//
// FirstOf panics without places, and for a nil one.
func FirstOf(places ...Extractor) Extractor {
	places = checkPlaces("FirstOf", places)
	return func(r *http.Request) (Credential, error) {
		for i, place := range places {
			if c, err := find(place, r); !errors.Is(err, ErrNoToken) {
				c.alsoQuery = append(c.alsoQuery, paramsInURL(places[i+1:], r)...)
				return c, err
			}
		}
		return Credential{}, ErrNoToken
	}
}

// paramsInURL are the query parameters in which places find a credential.
func paramsInURL(places []Extractor, r *http.Request) (params []string) {
	if len(places) == 0 || r.URL.RawQuery == "" {
		return nil
	}
	bare := &http.Request{Method: http.MethodGet, URL: r.URL, Header: http.Header{}, Body: http.NoBody}
	for _, place := range places {
		if c, err := find(place, bare); !errors.Is(err, ErrNoToken) {
			params = append(params, c.params()...)
		}
	}
	return params
}

// OnlyOne looks in all places and refuses a request that has credentials in
// more than one of them, even equal ones (RFC 6750 §2).
//
// OnlyOne panics without places, and for a nil one.
func OnlyOne(places ...Extractor) Extractor {
	places = checkPlaces("OnlyOne", places)
	return func(r *http.Request) (Credential, error) {
		var found Credential
		result := ErrNoToken
		var params []string
		for _, place := range places {
			c, err := find(place, r)
			if errors.Is(err, ErrNoToken) {
				continue
			}
			params = append(params, c.params()...)
			if !errors.Is(result, ErrNoToken) {
				err = ErrMultipleTokens
			}
			found, result = c, err
		}
		found.alsoQuery = params
		return found, result
	}
}

func checkPlaces(name string, places []Extractor) []Extractor {
	if len(places) == 0 {
		panic("jwthttp: " + name + " needs a place to look in")
	}
	for i, place := range places {
		if place == nil {
			panic(fmt.Sprintf("jwthttp: %s: place %d is nil", name, i))
		}
	}
	return slices.Clone(places)
}

// find asks one place, and takes an empty token for none.
func find(place Extractor, r *http.Request) (Credential, error) {
	c, err := place(r)
	if err == nil && c.Token == "" {
		err = ErrNoToken
	}
	return c, err
}

// params are the query parameters that must leave the URL.
func (c Credential) params() []string {
	if c.Source != SourceQuery || c.Name == "" {
		return c.alsoQuery
	}
	return append([]string{c.Name}, c.alsoQuery...)
}

// withoutParams returns r without the query parameters of the given names: in
// URL, RequestURI and, if it was parsed before, Form. The original is left as
// it is.
func withoutParams(r *http.Request, params []string) *http.Request {
	if len(params) == 0 {
		return r
	}
	query, found := cutParams(r.URL.RawQuery, params)
	if !found {
		return r
	}
	clean := r.WithContext(r.Context())
	u := *r.URL
	u.RawQuery = query
	clean.URL = &u
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		clean.RequestURI = path
		if query, _ = cutParams(query, params); query != "" {
			clean.RequestURI += "?" + query
		}
	}
	if r.Form != nil {
		clean.Form = make(url.Values, len(r.Form))
		for name, values := range r.Form {
			clean.Form[name] = values
		}
		for _, name := range params {
			// What came in the body is not ours to take away.
			if fromBody := r.PostForm[name]; len(fromBody) > 0 {
				clean.Form[name] = fromBody
			} else {
				delete(clean.Form, name)
			}
		}
	}
	return clean
}

// cutParams takes parameters out of a raw query without touching another byte
// of it: a signature over the rest must still hold. It reports whether there
// were any.
func cutParams(query string, params []string) (rest string, found bool) {
	cut := func(pair string) bool {
		return slices.ContainsFunc(params, func(param string) bool { return isParam(pair, param) })
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

// isToken reports whether s is a token in the sense of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// isToken68 reports whether s fits the syntax of a bearer token (RFC 9110 §11.2).
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && !strings.ContainsRune("-._~+/", rune(c)) {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
