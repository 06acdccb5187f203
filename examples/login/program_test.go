package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

func TestProgram(t *testing.T) {
	p := exampletest.Start(t, "-keys", filepath.Join(t.TempDir(), "keys.json"))
	if got := p.Status(t, "GET", "/list"); got != 401 {
		t.Errorf("without a token: %d", got)
	}
	p.PasteLines(t)
	p.End(t)
	if strings.Contains(p.Log(), alicePassword) {
		t.Error("the log has a password")
	}
}

func TestRun_invalidFlags(t *testing.T) {
	readable := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(readable, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-lifetime", "0s"}, "-lifetime"},
		{[]string{"-keys", readable}, "-keys: "},
		{[]string{"-allow-origin", "*"}, "-allow-origin"},
		{[]string{"-addr", "127.0.0.1:http-no-such"}, "listen"},
		{[]string{"-no-such-flag"}, "not defined"},
	} {
		var stdout, stderr bytes.Buffer
		if err := run(t.Context(), test.args, &stdout, &stderr); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want it to say %q", test.args, err, test.want)
		}
		if stdout.Len() > 0 {
			t.Errorf("%q: greets with %q", test.args, stdout.String())
		}
	}
}
