// Package testprogram finds programs that tests start and that may not be
// installed.
package testprogram

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Find returns the path of the first of names that is installed. If there is none,
// the test is skipped as by Missing.
func Find(tb testing.TB, names ...string) string {
	tb.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(tb, "no "+strings.Join(names, " or ")+" found")
	return ""
}

// Node returns the path of Node.js. Its packages must be in folder, where npm ci
// puts them. If they are missing, the test is skipped as by Missing.
func Node(tb testing.TB, folder string) string {
	tb.Helper()
	path := Find(tb, "node")
	if _, err := os.Stat(folder + "/node_modules"); err != nil {
		Missing(tb, "no node_modules found: run npm ci in examples")
	}
	return path
}

// Missing skips the test for a reason. If the environment variable CI is true, the
// test fails instead.
func Missing(tb testing.TB, reason string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(reason)
	}
	tb.Skip(reason)
}
