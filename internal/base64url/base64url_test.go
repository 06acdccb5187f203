package base64url_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/base64url"
)

// texts seed the fuzz test; encoding/base64 knows what is right.
var texts = []string{
	"", "A", "AA", "AB", "AAA", "AAB", "AAAA", "AAAAA", "AAAAAA", "AA==", "AA=", "AAA=", "-_-_", "+/+/", "AAA ", " AAAA",
	"A\nAA", "AAAA\n", "\r\nAAAA", "AA\n", "A=AA", "é", "AAAé", "AA\x00A", "AA\xff", "\xff\xff\xff\xff", "__8", "__9", "_w", "_x",
	strings.Repeat("abcd", 100), strings.Repeat("abcd", 100) + "*", strings.Repeat("AAAA", 50) + "!AAA" + strings.Repeat("AAAA", 50),
}

func check(t *testing.T, text string) {
	t.Helper()
	want, err := base64.RawURLEncoding.Strict().DecodeString(text)
	ok := err == nil && !strings.ContainsAny(text, "\r\n")
	got, gotOK := base64url.Decode(make([]byte, base64url.DecodedLen(len(text))), text)
	if gotOK != ok || ok && !bytes.Equal(got, want) {
		t.Errorf("%q: %x, %v; encoding/base64 has %x, %v", text, got, gotOK, want, err)
	}
	if ok && base64.RawURLEncoding.EncodeToString(got) != text {
		t.Errorf("%q is one of several encodings", text)
	}
}

func TestDecode(t *testing.T) {
	for _, text := range texts {
		check(t, text)
	}
	for c := range 256 { // each byte at each place
		for _, text := range []string{"AAAA", "AAAAAA", "AAAAAAA", "AAAAAAAAAAAAAAAA"} {
			for i := range text {
				b := []byte(text)
				b[i] = byte(c)
				check(t, string(b))
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(check)
}

func BenchmarkDecode(b *testing.B) {
	text := base64.RawURLEncoding.EncodeToString(make([]byte, 400))
	to := make([]byte, 400)
	b.Run("base64url", func(b *testing.B) {
		for b.Loop() {
			base64url.Decode(to, text)
		}
	})
	b.Run("encoding/base64", func(b *testing.B) {
		strict := base64.RawURLEncoding.Strict()
		for b.Loop() {
			_, _ = strict.Decode(to, []byte(text))
		}
	})
}
