package jwthttp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/seed450a7203/jwthttp/internal/authfield"
	"github.com/seed450a7203/jwthttp/internal/cookie"
	"github.com/seed450a7203/jwthttp/internal/form"
	"github.com/seed450a7203/jwthttp/internal/rawquery"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Source is the kind of place where a token was found. Tokens from any source
// other than SourceHeader and SourceQuery are subject to cross-origin checks
// (CSRF), because browsers send them automatically.
type Source uint8

// The kinds of places.
const (
	SourceOther Source = iota // any other place; subject to cross-origin checks
	SourceHeader
	SourceCookie
	SourceQuery
)

// String returns "other", "header", "cookie" or "query".
func (s Source) String() string {
	names := [...]string{SourceOther: "other", SourceHeader: "header", SourceCookie: "cookie", SourceQuery: "query"}
	if int(s) >= len(names) {
		return names[SourceOther]
	}
	return names[s]
}

// Credential is an unverified token as found in a request. Printing, logging and
// marshaling a Credential never show the token.
type Credential struct {
	// Token is the compact JWT. If empty, the credential counts as absent.
	Token string
	// Name is the name of the field, cookie or parameter. For SourceQuery, this
	// parameter is removed from the URL.
	Name string
	// Scheme is the authentication scheme, such as "Bearer". Only FromHeader
	// sets it.
	Scheme string
	// Source is the kind of place.
	Source Source

	// alsoQuery are further parameters to remove from the URL, because FirstOf
	// or OnlyOne found credentials in them, too.
	alsoQuery []string
}

// String describes the credential without its token.
func (c Credential) String() string { return fmt.Sprintf("credential from %s %q", c.Source, c.Name) }

// Format prints the same text as String for every verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns the same text as String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText returns the same text as String.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// An Extractor finds the credential in a request. It must be safe for
// concurrent use and must not modify the request. [FromForm] is the exception:
// it reads the body and sets PostForm.
//
// If there is no credential, it returns [ErrNoToken] or a Credential with an
// empty Token. If it returns an [*Error], that is the response. Every other
// error, such as [ErrMultipleTokens], is a 400. The text of an error reaches
// logs, so it must not contain the token.
type Extractor func(*http.Request) (Credential, error)

// maxPairs is the number of cookies or parameters above which a request is
// refused. net/http drops the cookies of such a request, which would make it
// anonymous.
const maxPairs = 3000

var (
	errSyntax  = errors.New("credential violates the syntax of its field")
	errTooMany = errors.New("more cookies or parameters than net/http reads")
)

// FromHeader returns an Extractor for the header field name with the given
// authentication scheme, in any case (RFC 9110 §11.1). If scheme is empty, the
// whole value is the token, as in "X-Api-Token: eyJ...".
//
// A field with another scheme counts as no credential. Two fields of the name,
// even equal ones, are an error, and so are two credentials joined by a comma.
// FromHeader panics if name or scheme is invalid (RFC 9110 §5.1, §11.1).
func FromHeader(name, scheme string) Extractor {
	if !syntax.IsToken(name) || scheme != "" && !syntax.IsToken(scheme) {
		panic(fmt.Sprintf("jwthttp: FromHeader(%q, %q): not a header field and an authentication scheme", name, scheme))
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	causes := map[error]error{
		authfield.ErrOtherScheme: fmt.Errorf("%w: %s does not have the scheme %q", ErrNoToken, name, scheme),
		authfield.ErrMultiple:    ErrMultipleTokens,
		authfield.ErrSyntax:      errSyntax,
	}
	return func(r *http.Request) (Credential, error) {
		value, err := onlyField(r, name)
		if err != nil {
			return Credential{}, err
		}
		token, err := authfield.Credential(value, scheme)
		if err != nil {
			return Credential{}, causes[err]
		}
		return Credential{Token: token, Name: name, Scheme: scheme, Source: SourceHeader}, nil
	}
}

// onlyField returns the value of a field that may occur once. Header.Get would
// hide a second line.
func onlyField(r *http.Request, name string) (string, error) {
	switch values := r.Header[name]; len(values) {
	case 0:
		return "", ErrNoToken
	case 1:
		return values[0], nil
	default:
		return "", ErrMultipleTokens
	}
}

// violatesSyntax reports whether the credential is invalid in a header field. A
// credential without a scheme may also be three padded segments (see
// Issuer.PaddedSegments).
func (c Credential) violatesSyntax() bool {
	if c.Source != SourceHeader || syntax.IsToken68(c.Token) {
		return false
	}
	segments := strings.SplitN(c.Token, ".", 4)
	return c.Scheme != "" || len(segments) != 3 ||
		slices.ContainsFunc(segments, func(s string) bool { return !syntax.IsToken68(s) })
}

// FromProxyHeader returns an Extractor for a header field that a proxy fills
// from a cookie, such as Cf-Access-Jwt-Assertion (Cloudflare Access),
// X-Goog-Iap-Jwt-Assertion (Google IAP) or X-Pomerium-Jwt-Assertion. The whole
// value is the token. Browsers send the cookie automatically, so the token is
// subject to [Options].CrossOrigin.
//
// The proxy must remove the field from requests of clients. FromProxyHeader
// panics if name is not a field name.
func FromProxyHeader(name string) Extractor {
	if !syntax.IsToken(name) {
		panic(fmt.Sprintf("jwthttp: FromProxyHeader(%q): not the name of a header field", name))
	}
	find := FromHeader(name, "")
	return func(r *http.Request) (Credential, error) {
		c, err := find(r)
		c.Source = SourceOther
		return c, err
	}
}

// FromCookie returns an Extractor for the cookie name, which is case-sensitive.
// Its tokens are subject to [Options].CrossOrigin. An empty cookie counts as
// absent; two of the name are an error. Unlike net/http, FromCookie does not
// ignore a cookie with invalid characters. It panics if name is not a cookie
// name.
func FromCookie(name string) Extractor {
	if !syntax.IsToken(name) {
		panic(fmt.Sprintf("jwthttp: FromCookie(%q): not a cookie name", name))
	}
	return func(r *http.Request) (Credential, error) {
		values, total := cookie.Values(r.Header["Cookie"], name)
		if total > maxPairs {
			return Credential{}, errTooMany
		}
		return onlyOne(Credential{Name: name, Source: SourceCookie}, values)
	}
}

// onlyOne returns c with the only value of a name that may occur once.
func onlyOne(c Credential, values []string) (Credential, error) {
	switch {
	case len(values) > 1:
		return c, ErrMultipleTokens
	case len(values) == 0 || values[0] == "":
		return c, ErrNoToken
	}
	c.Token = values[0]
	return c, nil
}

// FromForm returns an Extractor for a field of a form (RFC 6750 §2.2): a POST
// with Content-Type application/x-www-form-urlencoded. It reads the body, up to 1
// MiB, and sets [http.Request.PostForm] of the request, where the handler finds
// the form. A larger or invalid form is an error. It never reads a query parameter. Its tokens are subject to
// [Options].CrossOrigin. An empty field counts as absent; two of the name are an
// error.
//
// FromForm panics if field is empty.
func FromForm(field string) Extractor {
	if field == "" {
		panic("jwthttp: FromForm: empty field name")
	}
	return func(r *http.Request) (Credential, error) {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if r.Method != http.MethodPost || kind != "application/x-www-form-urlencoded" {
			return Credential{}, ErrNoToken
		}
		pairs, err := form.Parse(r)
		if err != nil {
			return Credential{}, err
		}
		if pairs > maxPairs {
			return Credential{}, errTooMany
		}
		return onlyOne(Credential{Name: field}, r.PostForm[field])
	}
}

// FromQuery returns an Extractor for the query parameter param. It never reads
// a form in the body. An empty parameter counts as absent; two of the name are
// an error. FromQuery panics if param is empty.
//
// URLs end up in logs, histories and Referer fields. Use FromQuery only where a
// client cannot send a header, with tokens that live for seconds. The handler
// gets the request without the parameter in URL, RequestURI and Form. Outer
// middleware and proxies still see it.
func FromQuery(param string) Extractor {
	if param == "" {
		panic("jwthttp: FromQuery: empty parameter name")
	}
	return func(r *http.Request) (Credential, error) {
		c := Credential{Name: param, Source: SourceQuery}
		var values []string
		total := 0
		for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
			if total++; total > maxPairs {
				return c, errTooMany
			}
			if rawquery.Is(pair, param) {
				values = append(values, rawquery.Value(pair))
			}
		}
		return onlyOne(c, values)
	}
}

// FromWebSocketProtocol returns an Extractor for the Sec-WebSocket-Protocol
// field of a WebSocket upgrade, the only field that a script in a browser can
// set. The token is what follows prefix in the entry that begins with it. The
// client must offer a second entry for the server to select, because the
// response repeats the selected one. It panics if prefix cannot begin a
// subprotocol.
//
// The Source is [SourceHeader], so the token is not subject to
// [Options].CrossOrigin.
func FromWebSocketProtocol(prefix string) Extractor {
	if !syntax.IsToken(prefix) {
		panic(fmt.Sprintf("jwthttp: FromWebSocketProtocol(%q): not a prefix of a subprotocol", prefix))
	}
	const field = "Sec-Websocket-Protocol" // in net/http's spelling
	return func(r *http.Request) (Credential, error) {
		if !syntax.IsWebSocket(r.Header) {
			return Credential{}, ErrNoToken
		}
		c := Credential{Name: field, Source: SourceHeader}
		var values []string
		for _, line := range r.Header[field] {
			for entry := range strings.SplitSeq(line, ",") {
				if token, ok := strings.CutPrefix(strings.Trim(entry, " \t"), prefix); ok {
					values = append(values, token)
				}
			}
		}
		if len(values) == 1 && values[0] == "" {
			return c, errSyntax
		}
		return onlyOne(c, values)
	}
}

// FirstOf returns an Extractor that tries places in order and uses the first
// credential found, valid or not. Query tokens of later places are also removed
// from the URL. It panics without places, and if one is nil.
func FirstOf(places ...Extractor) Extractor {
	places = checkPlaces("FirstOf", places)
	return func(r *http.Request) (Credential, error) {
		none := ErrNoToken
		for i, place := range places {
			c, err := extract(place, r)
			if isNoToken(err) {
				none = moreSpecific(none, err)
				continue
			}
			c.alsoQuery = append(c.alsoQuery, paramsInURL(places[i+1:], r)...)
			return c, err
		}
		return Credential{}, none
	}
}

// moreSpecific returns the first of two ErrNoToken that says more.
func moreSpecific(a, b error) error {
	if a == ErrNoToken {
		return b
	}
	return a
}

// paramsInURL returns the query parameters in which places find a credential.
func paramsInURL(places []Extractor, r *http.Request) (params []string) {
	if len(places) == 0 || r.URL.RawQuery == "" {
		return nil
	}
	bare := &http.Request{Method: http.MethodGet, URL: r.URL, Header: http.Header{}, Body: http.NoBody}
	for _, place := range places {
		if c, err := extract(place, bare); !isNoToken(err) {
			params = append(params, c.params()...)
		}
	}
	return params
}

// OnlyOne returns an Extractor that refuses a request with credentials in more
// than one of places, even equal ones (RFC 6750 §2). It panics without places,
// and if one is nil.
func OnlyOne(places ...Extractor) Extractor {
	places = checkPlaces("OnlyOne", places)
	return func(r *http.Request) (Credential, error) {
		var found Credential
		none, result := ErrNoToken, error(nil)
		var params []string
		seen := false
		for _, place := range places {
			c, err := extract(place, r)
			if isNoToken(err) {
				none = moreSpecific(none, err)
				continue
			}
			params = append(params, c.params()...)
			if seen {
				err = ErrMultipleTokens
			}
			found, result, seen = c, err, true
		}
		if !seen {
			return Credential{}, none
		}
		found.alsoQuery = params
		return found, result
	}
}

func checkPlaces(name string, places []Extractor) []Extractor {
	if len(places) == 0 {
		panic("jwthttp: " + name + ": no places")
	}
	for i, place := range places {
		if place == nil {
			panic(fmt.Sprintf("jwthttp: %s: place %d is nil", name, i))
		}
	}
	return slices.Clone(places)
}

// extract calls an Extractor. An empty token is ErrNoToken.
func extract(place Extractor, r *http.Request) (Credential, error) {
	c, err := place(r)
	if err == nil && c.Token == "" {
		err = ErrNoToken
	}
	return c, err
}

// isNoToken reports whether an error of extract means that there is no
// credential. An *Error is the answer, even if its cause is ErrNoToken.
func isNoToken(err error) bool {
	return errors.Is(err, ErrNoToken) && !isOwn(err)
}

func isOwn(err error) bool {
	var own *Error
	return errors.As(err, &own)
}

// params are the query parameters to remove from the URL.
func (c Credential) params() []string {
	if c.Source != SourceQuery || c.Name == "" {
		return c.alsoQuery
	}
	return append([]string{c.Name}, c.alsoQuery...)
}
