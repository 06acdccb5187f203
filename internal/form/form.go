// Package form parses the form in the body of a request.
package form

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
)

// MaxBytes is the size of the largest body that Parse reads.
const MaxBytes = 1 << 20

var errInvalid = errors.New("invalid form") // the error of net/http may quote the form

// IsForm reports whether the body of a request is a form that a token may be in
// (RFC 6750 §2.2).
func IsForm(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost && kind == "application/x-www-form-urlencoded"
}

// Parse fills in r.PostForm and returns the number of its fields. It does not
// parse the query, whose errors are not the body's. A form that cannot be parsed
// is an error each time, also if somebody else has tried to parse it before.
func Parse(r *http.Request) (fields int, err error) {
	if r.PostForm == nil {
		body := *r
		body.URL, body.Form = &url.URL{}, nil
		body.Body = http.MaxBytesReader(nil, r.Body, MaxBytes)
		if err := body.ParseForm(); err != nil {
			r.PostForm = url.Values{} // for the next call
			return 0, errInvalid
		}
		r.PostForm = body.PostForm
	} else if len(r.PostForm) == 0 && r.ContentLength != 0 {
		return 0, errInvalid
	}
	for _, values := range r.PostForm {
		fields += len(values)
	}
	return fields, nil
}
