package jwthttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// publicPackages are the folders of the packages that users import.
var publicPackages = []string{".", "jwks", "revocation", "revocation/revocationtest", "protectedresource", "logout", "jwthttptest"}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parseFolder parses the files of a package, without its tests. A package that
// has not been written yet has none.
func parseFolder(t *testing.T, fset *token.FileSet, folder string) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		t.Fatalf("%s: no Go files", folder)
	}
	return files
}

var (
	ruleNumber   = regexp.MustCompile(`(?m)^(\d+)\. `)
	ruleCitation = regexp.MustCompile(`//.*\bRules? (\d+(?:(?:, and |, | and | to )\d+)*)`)
	ruleSpan     = regexp.MustCompile(`(\d+)(?: to (\d+))?`)
)

// citedRules returns the numbers that the comments of a test cite.
func citedRules(text string) (cited []int) {
	for _, citation := range ruleCitation.FindAllStringSubmatch(text, -1) {
		for _, span := range ruleSpan.FindAllStringSubmatch(citation[1], -1) {
			first, _ := strconv.Atoi(span[1])
			last, err := strconv.Atoi(span[2])
			if err != nil {
				last = first
			}
			for n := first; n <= last; n++ {
				cited = append(cited, n)
			}
		}
	}
	return cited
}

func TestRules_citation(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []int
	}{
		{"one", "// Rule 4.", []int{4}},
		{"several", "// Rules 4, 6 and 12: text", []int{4, 6, 12}},
		{"a span", "\t{1, 2}, // Rules 19 to 21, 30", []int{19, 20, 21, 30}},
		{"after other text", "// TestX is rule by rule. Rule 7.", []int{7}},
		{"another number", "// Rule x, 12", nil},
		{"not in a comment", "Rule 4", nil},
	} {
		if got := citedRules(test.text); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}

	rules := map[int]bool{}
	for i, match := range ruleNumber.FindAllStringSubmatch(readText(t, "docs/rules.md"), -1) {
		n, _ := strconv.Atoi(match[1])
		if n != i+1 {
			t.Fatalf("docs/rules.md: rule %d comes after rule %d", n, i)
		}
		rules[n] = false
	}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, "_test.go") || name == "docs_test.go":
			return nil
		}
		for _, n := range citedRules(readText(t, name)) {
			if _, ok := rules[n]; !ok {
				t.Errorf("%s cites rule %d, which docs/rules.md does not have", name, n)
				continue
			}
			rules[n] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range slices.Sorted(maps.Keys(rules)) {
		if !rules[n] {
			t.Errorf("no test cites rule %d", n)
		}
	}
}

// codeOf returns the code in README.md and docs, in blocks and in sentences.
func codeOf(t *testing.T) string {
	t.Helper()
	var code []string
	for _, name := range append(docPages(t), "README.md") {
		text := readText(t, name)
		code = append(code, codeBlock.FindAllString(text, -1)...)
		code = append(code, inline.FindAllString(codeBlock.ReplaceAllString(text, ""), -1)...)
	}
	return strings.Join(code, "\n")
}

// docPages returns the pages of docs whose snippets stand alone. Those of
// migrating.md are diffs that the examples module compiles.
func docPages(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("docs: %v, %d pages", err, len(names))
	}
	return slices.DeleteFunc(names, func(name string) bool { return filepath.Base(name) == "migrating.md" })
}

// declared are the exported names of a package by what they are.
type declared struct {
	top        []string            // all at the top level
	reasons    []string            // values of the constants of type Reason
	extractors []string            // functions that return an Extractor
	fields     map[string][]string // of each struct
	comments   map[string]string   // of Struct.Field
}

func declarations(t *testing.T, folder string) declared {
	t.Helper()
	d := declared{fields: map[string][]string{}, comments: map[string]string{}}
	for _, file := range parseFolder(t, token.NewFileSet(), folder) {
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				d.addFunc(decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					d.addSpec(spec)
				}
			}
		}
	}
	return d
}

func (d *declared) addFunc(f *ast.FuncDecl) {
	if f.Recv != nil || !f.Name.IsExported() {
		return
	}
	d.top = append(d.top, f.Name.Name)
	if results := f.Type.Results; results != nil && len(results.List) == 1 {
		if name, ok := results.List[0].Type.(*ast.Ident); ok && name.Name == "Extractor" {
			d.extractors = append(d.extractors, f.Name.Name)
		}
	}
}

func (d *declared) addSpec(spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		d.top = append(d.top, spec.Name.Name)
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					if name.IsExported() {
						d.fields[spec.Name.Name] = append(d.fields[spec.Name.Name], name.Name)
						d.comments[spec.Name.Name+"."+name.Name] = field.Doc.Text()
					}
				}
			}
		}
	case *ast.ValueSpec:
		typ, _ := spec.Type.(*ast.Ident)
		for i, name := range spec.Names {
			if !name.IsExported() {
				continue
			}
			d.top = append(d.top, name.Name)
			if typ != nil && typ.Name == "Reason" {
				value, _ := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
				d.reasons = append(d.reasons, value)
			}
		}
	}
}

func TestDocs_completeness(t *testing.T) {
	root := declarations(t, ".")
	if len(root.reasons) < 20 || len(root.extractors) < 8 || len(root.fields["Options"]) < 10 || len(root.fields["Issuer"]) < 8 {
		t.Fatalf("the source has only %d reasons, %d extractors and %d options", len(root.reasons), len(root.extractors), len(root.fields["Options"]))
	}
	code := codeOf(t)
	_, table, _ := strings.Cut(readText(t, "README.md"), "## Error responses\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, reason := range root.reasons {
		if !strings.Contains(table, "`"+reason+"`") {
			t.Errorf("the table of error responses in README.md does not have the Reason %q", reason)
		}
	}
	for _, name := range slices.Concat(root.fields["Options"], root.fields["Issuer"], root.extractors) {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(code) {
			t.Errorf("neither README.md nor docs mention %s", name)
		}
	}
	changelog := readText(t, "CHANGELOG.md")
	for _, folder := range publicPackages {
		for _, name := range declarations(t, folder).top {
			if folder != "." {
				name = filepath.Base(folder) + "." + name
			}
			if !strings.Contains(changelog, "`"+name+"`") {
				t.Errorf("CHANGELOG.md does not mention `%s`", name)
			}
		}
	}
}

// snippet is Go code in a text.
type snippet struct{ where, code string }

var fence = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// snippetsOf returns the Go blocks of a page.
func snippetsOf(t *testing.T, name string) (all []snippet) {
	t.Helper()
	text := readText(t, name)
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		line := 1 + strings.Count(text[:at[0]], "\n")
		all = append(all, snippet{fmt.Sprintf("%s:%d", name, line), text[at[2]:at[3]]})
	}
	return all
}

// commentSnippets returns the code blocks of the doc comments of a package.
func commentSnippets(t *testing.T, folder string) (all []snippet) {
	t.Helper()
	fset := token.NewFileSet()
	for _, file := range parseFolder(t, fset, folder) {
		for _, group := range file.Comments {
			for _, block := range new(comment.Parser).Parse(group.Text()).Content {
				code, ok := block.(*comment.Code)
				if !ok || strings.HasPrefix(code.Text, "extract -> ") { // a picture
					continue
				}
				all = append(all, snippet{fset.Position(group.Pos()).String(), code.Text})
			}
		}
	}
	return all
}

// imported are the packages that a snippet may use without an import.
var imported = []string{
	"bytes", "context", "crypto/tls", "encoding/base64", "encoding/json", "encoding/pem", "errors", "expvar", "fmt", "io", "log", "log/slog",
	"net/http", "net/http/httptest", "net/netip", "net/url", "os", "strings", "sync", "sync/atomic", "testing", "time",
	"github.com/golang-jwt/jwt/v5",
	"github.com/seed450a7203/jwthttp", "github.com/seed450a7203/jwthttp/jwks", "github.com/seed450a7203/jwthttp/jwthttptest",
	"github.com/seed450a7203/jwthttp/logout",
	"github.com/seed450a7203/jwthttp/protectedresource", "github.com/seed450a7203/jwthttp/revocation",
}

// stubs are what a snippet may use without a declaration.
var stubs = []struct{ name, declaration string }{
	{"ctx", "var ctx context.Context"},
	{"opts", "var opts jwthttp.Options"},
	{"auth", "var auth *jwthttp.Middleware"},
	{"keys", "var keys jwthttp.KeySource"},
	{"issuers", "var issuers []jwthttp.Issuer"},
	{"store", "var store revocation.Store"},
	{"revoked", "var revoked revocation.List"},
	{"mux", "var mux *http.ServeMux"},
	{"w", "var w http.ResponseWriter"},
	{"r", "var r *http.Request"},
	{"t", "var t *testing.T"},
	{"text", "var text string"},
	{"notes", "var notes http.Handler"},
	{"page", "var page http.Handler"},
	{"me", "func me(http.ResponseWriter, *http.Request) {}"},
	{"order", "func order(http.ResponseWriter, *http.Request) {}"},
	{"escapedPEM", "func escapedPEM(string) ([]byte, error) { return nil, nil }"},
	{"health", "func health(http.ResponseWriter, *http.Request) {}"},
	{"Claims", "type Claims struct { Subject, Role, Tenant string }"},
	{"newAPI", "func newAPI(jwthttp.Issuer) http.Handler { return nil }"},
	{"newHandler", "func newHandler(jwthttp.Issuer) http.Handler { return nil }"},
	{"call", "func call(http.Handler, string) {}"},
}

var (
	ellipsisLine  = regexp.MustCompile(`(?m)^\s*\.\.\.\s*$`)
	ellipsisField = regexp.MustCompile(`,\s*\.\.\.\s*([})])`)
)

// program completes a snippet to a file. Functions, types and constants at the left
// margin are declarations of the file, and all else is the body of a function.
func (s snippet) program() string {
	code := ellipsisField.ReplaceAllString(ellipsisLine.ReplaceAllString(s.code, ""), "$1")
	if strings.HasPrefix(code, "package ") {
		return code
	}
	var file, body strings.Builder
	file.WriteString("package p\n\nimport (\n")
	for _, path := range imported {
		fmt.Fprintf(&file, "\t%q\n", path)
	}
	file.WriteString(")\n\n")
	for _, stub := range stubs {
		if !regexp.MustCompile(`(?m)^(?:func|type) ` + stub.name + `\b`).MatchString(code) {
			file.WriteString(stub.declaration + "\n")
		}
	}
	declaration := false
	for line := range strings.Lines(code) {
		text := strings.TrimSpace(line)
		begins := strings.HasPrefix(line, "func ") || strings.HasPrefix(line, "type ") || strings.HasPrefix(line, "const ")
		if begins || declaration {
			file.WriteString(line)
		} else {
			body.WriteString(line)
		}
		switch {
		case begins:
			text, _, _ := strings.Cut(text, " //")
			declaration = strings.HasSuffix(text, "{") || strings.HasSuffix(text, "(")
		case strings.HasPrefix(line, "}") || strings.HasPrefix(line, ")"):
			declaration = false
		}
	}
	fmt.Fprintf(&file, "\nfunc _() {\n%s\n}\n", &body)
	return file.String()
}

// exportImporter imports the packages that the go command has compiled.
func exportImporter(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	args := append([]string{"list", "-deps", "-export", "-f", "{{.ImportPath}}\t{{.Export}}"}, imported...)
	list := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("package %q is not among those of docs_test.go", path)
		}
		return os.Open(exports[path])
	})
}

// check type-checks a snippet. Variables and imports may be unused.
func (s snippet) check(fset *token.FileSet, imports types.Importer) error {
	program := s.program()
	file, err := parser.ParseFile(fset, s.where, program, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, program)
	}
	var problems []error
	config := types.Config{Importer: imports, Error: func(err error) {
		if e, ok := err.(types.Error); !ok || !e.Soft {
			problems = append(problems, err)
		}
	}}
	_, _ = config.Check("p", fset, []*ast.File{file}, nil) // Error gets its errors
	return errors.Join(problems...)
}

func TestDocs_snippets(t *testing.T) {
	fset := token.NewFileSet()
	imports := exportImporter(t, fset)
	all := snippetsOf(t, "README.md")
	for _, name := range docPages(t) {
		all = append(all, snippetsOf(t, name)...)
	}
	pages := len(all)
	for _, folder := range publicPackages {
		all = append(all, commentSnippets(t, folder)...)
	}
	if pages < 10 || len(all)-pages < 5 {
		t.Errorf("found %d snippets in pages and %d in comments", pages, len(all)-pages)
	}
	for _, s := range all {
		if err := s.check(fset, imports); err != nil {
			t.Errorf("%s: does not compile: %v", s.where, err)
		}
	}

	for _, test := range []struct{ name, code string }{
		{"an unknown name", "auth.RequireScope(\"a\")"},
		{"a missing result", "token := jwthttp.TokenFromContext(r.Context())"},
		{"a function", "func f() int {\n\treturn \"\"\n}"},
		{"a syntax error", "if {"},
	} {
		if (snippet{test.name, test.code}).check(fset, imports) == nil {
			t.Errorf("%s: compiles", test.name)
		}
	}
}

// docs/observability.md shows log lines as its Observer prints them.
func TestDocs_logLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := jwthttptest.New(t, "RS256")
		var printed strings.Builder
		auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
			Issuers: []jwthttp.Issuer{provider.Trusted()},
			Observer: func(_ context.Context, e jwthttp.Event) {
				fmt.Fprintf(&printed, "%s %q: %v\n", e.Request.Method, e.Request.URL.Path, e.Err)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, authorization := range []string{
			"",
			"Bearer",
			"Bearer " + provider.Expired(nil),
			"Bearer " + provider.Forged(nil),
			"Bearer " + provider.Token(map[string]any{"exp": nil}),
			"Bearer " + provider.Token(map[string]any{"iss": "https://issuer.test/"}),
			"Bearer " + provider.Token(map[string]any{"aud": "https://other.example"}),
		} {
			r := httptest.NewRequest("GET", "/me", nil)
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			if _, err := auth.Authenticate(r); err == nil {
				t.Errorf("%q is accepted", authorization)
			}
		}
		_, shown, _ := strings.Cut(readText(t, "docs/observability.md"), "<!-- printed by TestDocs_logLines -->\n```text\n")
		shown, _, _ = strings.Cut(shown, "```\n")
		if diff := cmp.Diff(printed.String(), shown); diff != "" {
			t.Errorf("docs/observability.md shows other lines (-printed +shown):\n%s", diff)
		}
	})
}

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inline    = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInName = regexp.MustCompile(`[^\pL\pN_ -]`)
)

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(readText(t, page), ""), -1) {
		name := notInName.ReplaceAllString(strings.ToLower(match[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

func TestDocs_links(t *testing.T) {
	needRepository(t)
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, page := range slices.Concat(top, pages) {
		text := codeBlock.ReplaceAllString(readText(t, page), "")
		text = regexp.MustCompile(`\[`+inline.String()).ReplaceAllString(text, "[") // code as the text of a link
		for _, match := range link.FindAllStringSubmatch(inline.ReplaceAllString(text, ""), -1) {
			if strings.HasPrefix(match[1], "https://") {
				continue
			}
			links++
			name, anchor, _ := strings.Cut(match[1], "#")
			target := page
			if name != "" {
				target = filepath.Join(filepath.Dir(page), name)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: broken link: %v", page, err)
			} else if anchor != "" && !anchors(t, target)[anchor] {
				t.Errorf("%s: %s has no heading for #%s", page, target, anchor)
			}
		}
	}
	if links < 50 {
		t.Errorf("found only %d links", links)
	}
}

// needRepository skips a test of files that the zip of the module lacks.
func needRepository(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("examples/go.mod"); err != nil {
		t.Skip("the zip of a module lacks the nested modules")
	}
}

var (
	makeCommand = regexp.MustCompile("(?m)(?:^[ \t]*|`|&& )make ([a-z-]+)")
	goCommand   = regexp.MustCompile("go (?:run|test|list) -C ([\\w/]+)([^#\n`]*)")
)

// The commands in the pages name targets of the Makefile, and folders that exist.
func TestDocs_commands(t *testing.T) {
	needRepository(t)
	var pages []string
	for _, pattern := range []string{"*.md", "*/*.md", ".github/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, names...)
	}
	makefile := readText(t, "Makefile")
	commands := 0
	for _, page := range pages {
		text := readText(t, page)
		for _, match := range makeCommand.FindAllStringSubmatch(text, -1) {
			commands++
			if !strings.Contains(makefile, "\n"+match[1]+": ") {
				t.Errorf("%s: the Makefile has no target %q", page, match[1])
			}
		}
		for _, match := range goCommand.FindAllStringSubmatch(text, -1) {
			commands++
			for _, name := range append(strings.Fields(match[2]), ".") {
				folder := filepath.Join(match[1], strings.TrimSuffix(name, "..."))
				if _, err := os.Stat(folder); strings.HasPrefix(name, ".") && err != nil {
					t.Errorf("%s: %q: %v", page, match[0], err)
				}
			}
		}
	}
	if commands < 15 {
		t.Errorf("found only %d commands", commands)
	}
}

var shownText = regexp.MustCompile(`"error_description":"([^"]*)"|(?m:^\|[^|\n]*\| [45]\d\d ([^|\n]+) \|)`)

// The error descriptions in the pages are those of a Reason.
func TestDocs_descriptions(t *testing.T) {
	texts := map[string]bool{}
	for _, reason := range declarations(t, ".").reasons {
		w := httptest.NewRecorder()
		jwthttp.WriteError(w, &jwthttp.Error{Status: 400, Reason: jwthttp.Reason(reason)})
		if match := shownText.FindStringSubmatch(w.Body.String()); match != nil {
			texts[match[1]] = true
		}
	}
	found := 0
	for _, page := range []string{"README.md", "docs/migrating.md"} {
		before, _, _ := strings.Cut(readText(t, page), "<!-- bodies:") // of other libraries
		for _, match := range shownText.FindAllStringSubmatch(before, -1) {
			found++
			if shown := match[1] + match[2]; !texts[shown] {
				t.Errorf("%s: %q is the text of no Reason", page, shown)
			}
		}
	}
	if found < 15 {
		t.Errorf("found only %d texts", found)
	}
}

// observedDefaults returns the defaults of fields of Options that requests show.
func observedDefaults(t *testing.T) map[string]string {
	t.Helper()
	defaults := map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		provider := jwthttptest.New(t, "HS256")
		auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
			Issuers: []jwthttp.Issuer{provider.Trusted()},
			Revoked: func(ctx context.Context, _ *jwthttp.Token) (bool, error) {
				deadline, _ := ctx.Deadline()
				defaults["RevocationTimeout"] = spell(time.Until(deadline))
				return false, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		refused := func(token string) jwthttp.Reason {
			var e *jwthttp.Error
			if _, err := auth.Verify(t.Context(), token); errors.As(err, &e) {
				return e.Reason
			}
			return ""
		}
		seconds := sort.Search(300, func(n int) bool {
			return refused(provider.Token(map[string]any{"exp": time.Now().Unix() - int64(n)})) != ""
		})
		bytes := sort.Search(1<<20, func(n int) bool { return refused(strings.Repeat("x", n+1)) == jwthttp.ReasonTooLarge })
		defaults["Leeway"] = spell(time.Duration(seconds) * time.Second)
		defaults["MaxTokenSize"] = fmt.Sprintf("%g KiB", float64(bytes)/1024)
	})
	return defaults
}

// keySetDefaults returns the defaults of the durations in jwks.Options.
func keySetDefaults(t *testing.T) map[string]string {
	t.Helper()
	defaults := map[string]string{}
	units := map[string]time.Duration{"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}
	row := regexp.MustCompile(`\{"(\w+)", &o\.\w+, (\d+) \* time\.(\w+)\}`)
	for _, match := range row.FindAllStringSubmatch(readText(t, "jwks/set.go"), -1) {
		n, _ := strconv.Atoi(match[2])
		defaults[match[1]] = spell(time.Duration(n) * units[match[3]])
	}
	if len(defaults) < 4 {
		t.Errorf("jwks/set.go: found only the defaults %v", defaults)
	}
	return defaults
}

// spell writes a duration as comments and pages do.
func spell(d time.Duration) string {
	n, unit := int(d.Seconds()), "second"
	switch {
	case d%time.Hour == 0:
		n, unit = int(d.Hours()), "hour"
	case d%time.Minute == 0:
		n, unit = int(d.Minutes()), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprint(n, " ", unit)
}

var (
	sentenceEnd = regexp.MustCompile(`[.|;]\s|\n\n|\n- `)
	quantity    = regexp.MustCompile(`\b(\d+ )(s|seconds?|KiB)\b`)
	ofDefault   = regexp.MustCompile(`(?i)default|unless|\(\d`)
)

// statedDefault returns the default of a field that a sentence states, or "".
func statedDefault(field, sentence string) string {
	name := `(?i)\b` + field + `\b`
	if field == "Leeway" {
		name += `|\bclock skew\b`
	}
	match := quantity.FindStringSubmatch(sentence)
	if match == nil || !ofDefault.MatchString(sentence) || !regexp.MustCompile(name).MatchString(sentence) {
		return ""
	}
	if match[2] == "s" {
		match[2] = "seconds"
	}
	return match[1] + match[2]
}

// The comments of fields and the pages state the defaults that hold.
func TestDocs_defaults(t *testing.T) {
	observed, stated := observedDefaults(t), 0
	for field, value := range observed {
		for _, page := range append(docPages(t), "README.md", "docs/migrating.md") {
			for _, sentence := range sentenceEnd.Split(readText(t, page), -1) {
				got := statedDefault(field, sentence)
				if got != "" && got != value {
					t.Errorf("%s: the default of %s is %s: %q", page, field, value, sentence)
				}
				if got != "" {
					stated++
				}
			}
		}
	}
	if stated < 6 {
		t.Errorf("the pages state defaults in only %d sentences", stated)
	}
	for folder, defaults := range map[string]map[string]string{".": observed, "jwks": keySetDefaults(t)} {
		comments := declarations(t, folder).comments
		for field, value := range defaults {
			comment := strings.Join(strings.Fields(comments["Options."+field]), " ")
			if _, stated, found := strings.Cut(comment, "If zero, "); !found || !strings.HasPrefix(stated, value) {
				t.Errorf("%s: the default of Options.%s is %s, not as in its comment: %q", folder, field, value, comment)
			}
		}
	}
}

// A comment of a field has at most six lines.
func TestDocs_fieldComments(t *testing.T) {
	for _, folder := range publicPackages {
		for field, comment := range declarations(t, folder).comments {
			if n := strings.Count(comment, "\n"); n > 6 {
				t.Errorf("%s: the comment of %s has %d lines, want at most 6", folder, field, n)
			}
		}
	}
}

// README.md has figures of benchmarks/results.md.
func TestDocs_figures(t *testing.T) {
	needRepository(t)
	_, table, _ := strings.Cut(readText(t, "benchmarks/results.md"), "## A valid token\n")
	shown := regexp.MustCompile(`(?s)RS256 token takes ([\d.]+) times.*?takes ([\d.]+) times`).FindStringSubmatch(readText(t, "README.md"))
	if shown == nil {
		t.Fatal("README.md shows no figures")
	}
	for i, name := range []string{"jwthttp", "jwthttp-cached"} {
		row := regexp.MustCompile(`(?m)^\| ` + name + ` \|[^|]*\| [\d,]+ \(([\d.]+)\) \|`).FindStringSubmatch(table)
		if row == nil || row[1] != shown[i+1] {
			t.Errorf("README.md shows %s for %s, benchmarks/results.md has %q", shown[i+1], name, row)
		}
	}
}

// dependabot.yml and RELEASING.md name each module.
func TestDocs_modules(t *testing.T) {
	needRepository(t)
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(files))
		}
		for _, file := range files {
			folder := filepath.ToSlash(filepath.Dir(file))
			if !regexp.MustCompile(`[\[ ]/` + folder + `[,\]]`).MatchString(readText(t, ".github/dependabot.yml")) {
				t.Errorf(".github/dependabot.yml does not name /%s", folder)
			}
			if !regexp.MustCompile(`for d in [^;]*\b` + folder + `[ ;]`).MatchString(readText(t, "RELEASING.md")) {
				t.Errorf("RELEASING.md does not edit %s", file)
			}
		}
	}
}
