// Package form parses the form in the body of a request.
package form

import (
	"errors"
	"net/http"
	"net/url"
)

// MaxBytes is the size of the largest body that Parse reads.
const MaxBytes = 1 << 20

var errInvalid = errors.New("invalid form") // the error of net/http may quote the form

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
