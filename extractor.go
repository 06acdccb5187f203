package jwthttp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/textproto"
	"slices"

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
	switch s {
	case SourceHeader:
		return "header"
	case SourceCookie:
		return "cookie"
	case SourceQuery:
		return "query"
	}
	return "other"
}

// Credential is an unverified token as found in a request. Printing it never
// shows the token.
type Credential struct {
	// Token is the compact JWT. If empty, the credential counts as absent.
	Token string
	// Name is the name of the field, cookie or parameter. A parameter is removed
	// from the URL if Source is SourceQuery.
	Name string
	// Scheme is the authentication scheme, such as "Bearer". Only FromHeader
	// sets it. A token of the scheme "DPoP" needs a proof (Options.DPoP).
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
// If there is no credential, it returns [ErrNoToken] or an empty Token. An
// [*Error] is the response. Every other error, such as [ErrMultipleTokens], is a
// 400. The text of an error reaches logs, so it must not contain the token.
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
// whole value is the token.
//
// A field with another scheme counts as no credential. Two fields of the name,
// even equal ones, are an error. FromHeader panics if name or scheme is not a
// token (RFC 9110 §5.6.2).
func FromHeader(name, scheme string) Extractor {
	must(syntax.IsToken(name) && (scheme == "" || syntax.IsToken(scheme)),
		"FromHeader(%q, %q): not a header field and an authentication scheme", name, scheme)
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
		c := Credential{Token: token, Name: name, Scheme: scheme, Source: SourceHeader}
		return c, causes[err] // nil for nil
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
	return c.Source == SourceHeader && !syntax.IsToken68(c.Token) && (c.Scheme != "" || !syntax.IsSegments(c.Token))
}

// FromProxyHeader returns an Extractor for a header field that a proxy fills
// from a cookie, such as Cf-Access-Jwt-Assertion (Cloudflare Access) or
// X-Goog-Iap-Jwt-Assertion (Google IAP). The whole value is the token. It is
// subject to [Options].CrossOrigin. The proxy must remove the field from requests
// of clients. If it fills Authorization instead, use FromHeader and change the
// Source to SourceOther. FromProxyHeader panics if name is not a field name.
func FromProxyHeader(name string) Extractor {
	must(syntax.IsToken(name), "FromProxyHeader(%q): not the name of a header field", name)
	find := FromHeader(name, "")
	return func(r *http.Request) (Credential, error) {
		c, err := find(r)
		c.Source = SourceOther
		return c, err
	}
}

// FromCookie returns an Extractor for the cookie name, which is case-sensitive.
// Its tokens are subject to [Options].CrossOrigin. An empty cookie counts as
// absent; two of the name are an error. It panics if name is not a cookie name.
func FromCookie(name string) Extractor {
	must(syntax.IsToken(name), "FromCookie(%q): not a cookie name", name)
	return func(r *http.Request) (Credential, error) {
		values, total := cookie.Values(r.Header["Cookie"], name)
		return onlyOne(Credential{Name: name, Source: SourceCookie}, values, total)
	}
}

// onlyOne returns c with the only value of a name that may occur once, among
// total cookies or parameters, or 0.
func onlyOne(c Credential, values []string, total int) (Credential, error) {
	switch {
	case total > maxPairs:
		return c, errTooMany
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
// MiB, and sets [http.Request.PostForm], where the handler finds the form. A
// larger or invalid form is an error. Its
// tokens are subject to [Options].CrossOrigin. An empty field counts as absent;
// two of the name are an error. FromForm panics if field is empty.
func FromForm(field string) Extractor {
	must(field != "", "FromForm: empty field name")
	return func(r *http.Request) (Credential, error) {
		if !form.IsForm(r) {
			return Credential{}, ErrNoToken
		}
		total, err := form.Parse(r)
		if err != nil {
			return Credential{}, err
		}
		return onlyOne(Credential{Name: field}, r.PostForm[field], total)
	}
}

// FromQuery returns an Extractor for the query parameter param. An empty
// parameter counts as absent; two of the name are an error. FromQuery panics if
// param is empty.
//
// URLs end up in logs and histories. Use FromQuery only where a client cannot
// send a header, with tokens that live for seconds. The handler gets the request
// without the parameter. Outer middleware and proxies still see it.
func FromQuery(param string) Extractor {
	must(param != "", "FromQuery: empty parameter name")
	return func(r *http.Request) (Credential, error) {
		values, total := rawquery.Values(r.URL.RawQuery, param, maxPairs)
		return onlyOne(Credential{Name: param, Source: SourceQuery}, values, total)
	}
}

// FromWebSocketProtocol returns an Extractor for the Sec-WebSocket-Protocol
// field of a WebSocket upgrade, the only field that a script in a browser can
// set. The token is what follows prefix in the entry that begins with it. The
// client must offer a second entry for the server to select, because the
// response repeats the selected one. The Source is [SourceHeader]. It panics if
// prefix cannot begin a subprotocol.
func FromWebSocketProtocol(prefix string) Extractor {
	must(syntax.IsToken(prefix), "FromWebSocketProtocol(%q): not a prefix of a subprotocol", prefix)
	const field = "Sec-Websocket-Protocol" // in net/http's spelling
	return func(r *http.Request) (Credential, error) {
		if !syntax.IsWebSocket(r.Header) {
			return Credential{}, ErrNoToken
		}
		c := Credential{Name: field, Source: SourceHeader}
		tokens := syntax.Subprotocols(r.Header[field], prefix)
		if len(tokens) == 1 && tokens[0] == "" {
			return c, errSyntax
		}
		return onlyOne(c, tokens, 0)
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

// moreSpecific returns b if a is ErrNoToken and says no more than that, or a.
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
		found, result := Credential{}, ErrNoToken
		var params []string
		for _, place := range places {
			c, err := extract(place, r)
			if isNoToken(err) {
				result = moreSpecific(result, err)
				continue
			}
			if !isNoToken(result) {
				err = ErrMultipleTokens
			}
			params = append(params, c.params()...)
			found, result = c, err
		}
		found.alsoQuery = params
		return found, result
	}
}

// must panics with a message unless an argument is right.
func must(right bool, format string, args ...any) {
	if !right {
		panic("jwthttp: " + fmt.Sprintf(format, args...))
	}
}

func checkPlaces(name string, places []Extractor) []Extractor {
	must(len(places) > 0, "%s: no places", name)
	for i, place := range places {
		must(place != nil, "%s: place %d is nil", name, i)
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
	return err == ErrNoToken || errors.Is(err, ErrNoToken) && !isOwn(err)
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

// checkOrigin protects tokens that browsers send automatically against CSRF.
func (c *config) checkOrigin(r *http.Request, source Source) *Error {
	if source == SourceHeader || source == SourceQuery {
		return nil
	}
	if isUpgrade(r) {
		// A GET that opens a channel for writes, and that the same-origin policy
		// does not cover.
		upgrade := *r
		upgrade.Method = http.MethodPost
		r = &upgrade
	}
	if err := c.opts.CrossOrigin.Check(r); err != nil {
		return refuse(ReasonCrossOrigin, err)
	}
	return nil
}

func isUpgrade(r *http.Request) bool { return len(r.Header["Upgrade"]) > 0 }
