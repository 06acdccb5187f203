package form_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/form"
)

func post(query, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/"+query, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, query, body string
		want              int // fields; -1: an error
	}{
		{"no body", "", "", 0},
		{"two fields", "", "a=1&b=2", 2},
		{"three fields of one name", "", "a=1&a=2&a=", 3},
		{"a query is not counted", "?x=1&y=2", "a=1", 1},
		{"a query that does not decode", "?x=%zz&a;b", "a=1", 1},
		{"a body that does not decode", "", "a=1&b=%zz", -1},
		{"the largest body", "", "a=" + strings.Repeat("x", form.MaxBytes-2), 1},
		{"a larger body", "", "a=" + strings.Repeat("x", form.MaxBytes-1), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := post(tt.query, tt.body)
			for range 2 { // the body can be read only once
				got, err := form.Parse(r)
				if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
					t.Errorf("%d fields, error %v", got, err)
				}
			}
		})
	}
}

// What somebody else has parsed without success must not count as an empty form.
func TestParse_parsedBefore(t *testing.T) {
	r := post("", "%zz")
	if err := r.ParseForm(); err == nil {
		t.Fatal("no error")
	}
	if fields, err := form.Parse(r); err == nil {
		t.Errorf("%d fields", fields)
	}
	r = post("", "a=1")
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	if fields, err := form.Parse(r); err != nil || fields != 1 {
		t.Errorf("%d fields, error %v", fields, err)
	}
}

// The handler can parse the query later, and finds the fields of the form.
func TestParse_handler(t *testing.T) {
	r := post("?q=1", "a=2")
	if _, err := form.Parse(r); err != nil {
		t.Fatal(err)
	}
	if r.FormValue("q") != "1" || r.FormValue("a") != "2" || r.PostFormValue("q") != "" {
		t.Errorf("form %v, fields of the body %v", r.Form, r.PostForm)
	}
	if rest, _ := io.ReadAll(r.Body); len(rest) > 0 {
		t.Errorf("%d bytes left", len(rest))
	}
}

func TestIsForm(t *testing.T) {
	for _, tt := range []struct {
		name, method, kind string
		want               bool
	}{
		{"a form", http.MethodPost, "application/x-www-form-urlencoded", true},
		{"with a parameter, in another case", http.MethodPost, "Application/X-WWW-Form-Urlencoded; charset=utf-8", true},
		{"another method", http.MethodPut, "application/x-www-form-urlencoded", false},
		{"JSON", http.MethodPost, "application/json", false},
		{"multipart", http.MethodPost, "multipart/form-data; boundary=x", false},
		{"no type", http.MethodPost, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Method: tt.method, Header: http.Header{"Content-Type": {tt.kind}}}
			if got := form.IsForm(r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
