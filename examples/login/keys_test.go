package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestOpenKeyring_restart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	r, err := openKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	first := r.signing().ID
	if _, err := r.rotate(time.Minute); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}

	again, err := openKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	if again.signing().ID != r.signing().ID {
		t.Error("another key signs")
	}
	if _, ok := again.now.Load().set[first]; !ok {
		t.Error("the retired key is missing")
	}

	if err := again.changeSecret(); err != nil {
		t.Fatal(err)
	}
	last, err := openKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	if keys := last.now.Load().keys; len(keys) != 1 || keys[0].ID != again.signing().ID {
		t.Errorf("%d keys after the change", len(keys))
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); len(entries) != 1 || err != nil {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestKeyring_rotate(t *testing.T) {
	r, err := openKeyring("")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.rotate(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.now.Load().keys); n != 4 {
		t.Errorf("%d keys, want all 4", n)
	}
	keys := r.now.Load().keys
	old := append([]key(nil), keys...)
	for i := range old[1:] {
		old[i+1].Retired = time.Now().Add(-2 * time.Minute)
	}
	r.use(old)
	if _, err := r.rotate(time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := len(r.now.Load().keys); n != 2 {
		t.Errorf("%d keys, want the new one and the one before", n)
	}
}

func TestOpenKeyring_invalidFile(t *testing.T) {
	const secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"others can read it", `[{"kid":"a","secret":"` + secret + `"}]`, 0o644, "chmod 600"},
		{"the group can read it", `[{"kid":"a","secret":"` + secret + `"}]`, 0o640, "chmod 600"},
		{"no JSON", `kid: a`, 0o600, "invalid character"},
		{"no key", `[]`, 0o600, "no keys"},
		{"a short secret", `[{"kid":"a","secret":"AAAA"}]`, 0o600, "32 bytes"},
		{"no kid", `[{"secret":"` + secret + `"}]`, 0o600, "kid"},
		{"one kid twice", `[{"kid":"a","secret":"` + secret + `"},{"kid":"a","secret":"` + secret + `"}]`, 0o600, "key 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && test.mode != 0o600 {
				t.Skip("Windows has no such modes")
			}
			file := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := openKeyring(file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want it to say %q", err, test.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%v: quotes the secret", err)
			}
			if got, _ := os.ReadFile(file); string(got) != test.text {
				t.Error("the file was overwritten")
			}
		})
	}
	if _, err := openKeyring(filepath.Join(t.TempDir(), "no", "such", "folder")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in no folder: %v", err)
	}
}
