package layout

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxFunctions limits the functions of the root package that one admitted request
// calls.
const maxFunctions = 30

// TestTrace prints the calls of this module's functions for one admitted request,
// in order. It instruments a copy of the sources: each function first prints its
// number. Function literals count as functions. "make trace" runs this test.
func TestTrace(t *testing.T) {
	skipInModuleCache(t)
	sources := newInstrumented(t)
	calls := sources.trace(t)
	t.Logf("one admitted request:\n%s", listing(calls))
	if n := len(distinct(ofRoot(calls), function.key)); n > maxFunctions {
		t.Errorf("%d functions of the root package, want at most %d", n, maxFunctions)
	}
	t.Logf("one admitted request whose token is cached:\n%s", listing(sources.trace(t, "-cache=10")))
}

// skipInModuleCache skips a test of a downloaded module, because go build accepts
// no overlay of its files.
func skipInModuleCache(t *testing.T) {
	t.Helper()
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if inside, err := filepath.Rel(strings.TrimSpace(string(cache)), top); err == nil && filepath.IsLocal(inside) {
		t.Skip("the module cache is not instrumented")
	}
}

// function is a function declaration or literal.
type function struct{ name, file string }

// key identifies a function. The literals in one function count as one.
func (f function) key() string { return f.file + " " + f.name }

// ofRoot returns the calls of the root package.
func ofRoot(calls []function) (root []function) {
	for _, f := range calls {
		if !strings.Contains(f.file, "/") {
			root = append(root, f)
		}
	}
	return root
}

// instrumented is the module with a statement at the start of each function.
type instrumented struct {
	overlay   string // file for go build -overlay
	functions []function
}

func newInstrumented(t *testing.T) *instrumented {
	t.Helper()
	dir := t.TempDir()
	s := &instrumented{overlay: filepath.Join(dir, "overlay.json")}
	replace := map[string]string{}
	for _, file := range moduleFiles(t) {
		path := filepath.Join(root, file)
		name := filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		if err := os.WriteFile(name, s.instrument(t, path, file), 0o600); err != nil {
			t.Fatal(err)
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		replace[absolute] = name
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// moduleFiles returns the files of this module that a program with jwthttp links.
func moduleFiles(t *testing.T) (files []string) {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{range .GoFiles}}{{$.Dir}}/{{.}}\n{{end}}{{end}}{{end}}", ".")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.FieldsSeq(string(out)) {
		relative, err := filepath.Rel(top, file)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.ToSlash(relative))
	}
	return files
}

// instrument returns the source with a statement inserted after the opening brace
// of each function, so that line numbers stay the same.
func (s *instrumented) instrument(t *testing.T, path, file string) []byte {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	copied, outer := 0, ""
	ast.Inspect(parsed, func(n ast.Node) bool {
		var name string
		var body *ast.BlockStmt
		switch n := n.(type) {
		case *ast.FuncDecl:
			name, body = declared(n), n.Body
			outer = name
		case *ast.FuncLit:
			name, body = "func in "+outer, n.Body
		}
		if body != nil {
			at := fset.Position(body.Lbrace).Offset + 1
			out = fmt.Appendf(append(out, source[copied:at]...), "println(%d);", len(s.functions))
			copied = at
			s.functions = append(s.functions, function{name, file})
		}
		return true
	})
	return append(out, source[copied:]...)
}

// trace runs the request and returns the calls in order of entry.
func (s *instrumented) trace(t *testing.T, args ...string) (calls []function) {
	t.Helper()
	run := exec.Command("go", append([]string{"run", "-overlay", s.overlay, "./internal/layout/request"}, args...)...)
	run.Dir = root
	var log strings.Builder
	run.Stderr = &log
	if err := run.Run(); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	_, rest, _ := strings.Cut(log.String(), "begin\n")
	during, _, ok := strings.Cut(rest, "end\n")
	if !ok {
		t.Fatalf("no request in the log:\n%s", log.String())
	}
	for line := range strings.FieldsSeq(during) {
		n, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, s.functions[n])
	}
	return calls
}

// listing has a line for each function in order of its first call, a line for each
// file, and totals.
func listing(calls []function) string {
	var out strings.Builder
	for _, key := range distinct(calls, function.key) {
		n, first := 0, function{}
		for _, f := range calls {
			if f.key() == key {
				n, first = n+1, f
			}
		}
		fmt.Fprintf(&out, "%4d x  %-40s %s\n", n, first.name, first.file)
	}
	out.WriteString("\nroot files, and how often they are entered:\n")
	for _, file := range distinct(calls, func(f function) string { return f.file }) {
		if n := entries(ofRoot(calls), file); n > 0 {
			fmt.Fprintf(&out, "%4d x  %s\n", n, file)
		}
	}
	fmt.Fprintf(&out, "\nall packages:     %s\nthe root package: %s\n", totals(calls), totals(ofRoot(calls)))
	return out.String()
}

// entries counts the calls that enter file from another file.
func entries(calls []function, file string) (n int) {
	for i, f := range calls {
		if f.file == file && (i == 0 || calls[i-1].file != file) {
			n++
		}
	}
	return n
}

func totals(calls []function) string {
	files := distinct(calls, func(f function) string { return f.file })
	changes := -1
	for _, file := range files {
		changes += entries(calls, file)
	}
	return fmt.Sprintf("%d calls of %d functions in %d files with %d changes of file",
		len(calls), len(distinct(calls, function.key)), len(files), changes)
}

// distinct returns the keys of calls in order of their first appearance.
func distinct(calls []function, key func(function) string) (keys []string) {
	for _, f := range calls {
		if k := key(f); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}
