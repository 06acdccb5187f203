package problems_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/problems"
)

func TestList(t *testing.T) {
	var empty problems.List
	if err := empty.Err(); err != nil || empty.Len() != 0 {
		t.Errorf("an empty list: %d, error %v", empty.Len(), err)
	}
	p := problems.List{Prefix: "x: "}
	p.Add("Size", -1, "want 0 to %d", 5)
	p.Add("Name", "100%\n", "want a name")
	p.AddHidden("Keys", "secret is too short: %w", io.EOF)
	err := p.Err()
	want := "x: Size: \"-1\": want 0 to 5\nx: Name: \"100%\\n\": want a name\nx: Keys: secret is too short: EOF"
	if err == nil || err.Error() != want || p.Len() != 3 {
		t.Errorf("%d problems, error:\n%v\nwant:\n%s", p.Len(), err, want)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is not wrapped")
	}
}

func TestList_CheckNames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		names []string
		want  int
	}{
		{"names", []string{"a", "b"}, 0},
		{"none", nil, 1},
		{"an empty name", []string{"a", ""}, 1},
		{"a reserved name", []string{"*", "a"}, 1},
		{"both", []string{"*", ""}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var list problems.List
			list.CheckNames("Field", tt.names, "*", "want 100 % of them")
			if list.Len() != tt.want {
				t.Errorf("%d problems, want %d: %v", list.Len(), tt.want, list.Err())
			}
			if err := list.Err(); err != nil && !strings.Contains(err.Error(), "want 100 % of them") {
				t.Errorf("error %q", err)
			}
		})
	}
}
