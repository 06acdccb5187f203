package migrating

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// program returns the lines of a file that come after its imports.
func program(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n)\n\n")
	if !ok {
		t.Fatalf("%s: no imports", file)
	}
	return strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
}

var function = regexp.MustCompile(`^func (?:\([^)]*\) )?\w+`)

// diff returns a unified diff with the names of functions, and without line
// numbers and context. The output of diff -U0 differs between systems.
func diff(old, new []string) string {
	// common[i][j] is the length of the longest common subsequence of old[i:] and new[j:].
	common := make([][]int, len(old)+1)
	for i := range common {
		common[i] = make([]int, len(new)+1)
	}
	for i := len(old) - 1; i >= 0; i-- {
		for j := len(new) - 1; j >= 0; j-- {
			if old[i] == new[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var b strings.Builder
	where, inHunk := "", false
	line := func(sign, text string) {
		if !inHunk {
			if where == "" || function.MatchString(text) {
				b.WriteString("@@\n")
			} else {
				b.WriteString("@@ " + where + "\n")
			}
			inHunk = true
		}
		b.WriteString(sign + text + "\n")
	}
	for i, j := 0, 0; i < len(old) || j < len(new); {
		switch {
		case i < len(old) && j < len(new) && old[i] == new[j]:
			if name := function.FindString(old[i]); name != "" {
				where = name
			}
			inHunk = false
			i++
			j++
		case j == len(new) || i < len(old) && common[i+1][j] >= common[i][j+1]:
			line("-", old[i])
			i++
		default:
			line("+", new[j])
			j++
		}
	}
	return b.String()
}
