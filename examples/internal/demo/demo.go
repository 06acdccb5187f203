package demo

import (
	_ "embed" // for the files below
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed style.css
var style string

//go:embed hint.html
var hint string

// Style serves the stylesheet of all pages.
func Style(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "style.css", time.Time{}, strings.NewReader(style))
}

// Pages parses the templates web/*.html in files. They can use the template "hint",
// which shows the users and their passwords. It panics if a template is invalid.
func Pages(files fs.FS) *template.Template {
	return template.Must(template.Must(template.New("hint").Parse(hint)).ParseFS(files, "web/*.html"))
}
