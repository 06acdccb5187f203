// Package layout tests the layout of the repository: its size, its imports, and
// how much code a request passes through. It contains only tests.
package layout

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root             = "../.." // folder of the repository
	maxRootLines     = 2000
	maxFunctionLines = 45
)

// TestSize prints the lines of each package and its longest function. The limits
// hold for code without tests.
func TestSize(t *testing.T) {
	lines, longest := map[string]int{}, map[string]string{}
	length := map[string]int{}
	for _, file := range goFiles(t) {
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.ToSlash(filepath.Dir(file))
		lines[folder] += codeLines(source)
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
			if n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, want at most %d", fset.Position(f.Pos()), declared(f), n, maxFunctionLines)
			}
			if n > length[folder] {
				length[folder], longest[folder] = n, declared(f)
			}
		}
	}
	if lines["."] == 0 || lines["."] > maxRootLines {
		t.Errorf("the root package has %d lines of code, want 1 to %d", lines["."], maxRootLines)
	}
	var out strings.Builder
	for _, folder := range sorted(lines) {
		fmt.Fprintf(&out, "%5d  %-36s %2d  %s\n", lines[folder], folder, length[folder], longest[folder])
	}
	t.Logf("lines of code without tests, and of the longest function:\n%s", out.String())
}

// TestImports checks that mechanism knows nothing of requests or options, and that
// the root package does not import the packages built on it.
func TestImports(t *testing.T) {
	module := goList(t, "{{.Module.Path}}", ".")[0]
	for _, name := range []string{"jws", "strictjson", "jwk", "cache", "cause", "claims", "deepcopy", "jsonfields", "keyset", "refusal", "syntax"} {
		imports := goList(t, `{{join .Deps "\n"}}`, "./internal/"+name)
		for _, no := range []string{"net/http", module} {
			if slices.Contains(imports, no) {
				t.Errorf("internal/%s imports %s", name, no)
			}
		}
	}
	imports := goList(t, `{{join .Deps "\n"}}`, ".")
	for _, name := range []string{"jwks", "revocation", "protectedresource", "logout", "jwthttptest"} {
		if slices.Contains(imports, module+"/"+name) {
			t.Errorf("the root package imports %s", name)
		}
	}
}

// goFiles returns the files of all modules without tests.
func goFiles(t *testing.T) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// codeLines counts the lines with a token that is not a comment.
func codeLines(source []byte) int {
	file := token.NewFileSet().AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0)
	seen := map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		switch {
		case tok == token.EOF:
			return len(seen)
		case tok == token.SEMICOLON && text == "\n": // not in the source
		default:
			first := file.Line(pos)
			for line := range bytes.Count([]byte(text), []byte("\n")) + 1 {
				seen[first+line] = true
			}
		}
	}
}

// declared returns the name of a function as (*T).Method, T.Method or Function.
func declared(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	receiver, format := f.Recv.List[0].Type, "%s.%s"
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver, format = star.X, "(*%s).%s"
	}
	switch generic := receiver.(type) {
	case *ast.IndexExpr:
		receiver = generic.X
	case *ast.IndexListExpr:
		receiver = generic.X
	}
	return fmt.Sprintf(format, receiver, f.Name.Name)
}

func goList(t *testing.T, format, pattern string) []string {
	t.Helper()
	list := exec.Command("go", "list", "-f", format, pattern)
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pattern, err)
	}
	return strings.Fields(string(out))
}

func sorted(m map[string]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
