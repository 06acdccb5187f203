package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/testprogram"
)

// TestTypeScriptClient runs client.mjs, which uses the SDK for TypeScript.
func TestTypeScriptClient(t *testing.T) {
	node := testprogram.Node(t, "..")
	const (
		before  = `"scopes":["tools:use"],"subject":"alice"}`
		after   = `"scopes":["tools:use","orders:write"],"subject":"alice"}`
		both    = `"scopes":["orders:write","tools:use"],"subject":"alice"}` // as the server lists them
		ordered = `create_order: {"for":"alice","ordered":"tea"}`
	)
	for _, test := range []struct {
		name      string
		argument  string
		allScopes bool
		status    int
		want      []string // in the output, in this order
		asked     int      // how often the user is asked
	}{
		{"a client without refresh tokens gets another scope", "", false, 0, []string{before, ordered, after}, 2},
		// If this row fails with a newer SDK, it can step up with a refresh token. Then
		// the comments in authserver.go, main.go and client.mjs are out of date.
		{"a client with refresh tokens gives up", "refresh", false, 1, []string{before, "error: Streamable HTTP error: Server returned 403 after trying upscoping"}, 1},
		{"a client with refresh tokens gets all scopes at first", "refresh", true, 0, []string{both, ordered, both}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, newTools())
			s.as.mu.Lock()
			s.as.allScopes = test.allScopes
			s.as.mu.Unlock()
			out, err := exec.CommandContext(t.Context(), node, "client.mjs", s.resource, test.argument).CombinedOutput()
			var exit *exec.ExitError
			status := 0
			if errors.As(err, &exit) {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			rest := string(out)
			for _, want := range test.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Errorf("no %s", want)
				}
				rest = after
			}
			if got := strings.Count(string(out), "authorize: "+s.as.url+"/authorize?"); got != test.asked {
				t.Errorf("asked the user %d times, want %d", got, test.asked)
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}
