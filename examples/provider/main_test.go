package main

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

func TestREADME_function(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, function, _ := strings.Cut(string(program), "\nfunc newAPI")
	function, _, found := strings.Cut(function, "\n}\n")
	if !found || !strings.Contains(string(readme), "```go\nfunc newAPI"+function+"\n}\n```\n") {
		t.Error("README.md shows another newAPI")
	}
}

func TestProgram(t *testing.T) {
	t.Setenv("ISSUER", "")
	p := exampletest.Start(t)
	if got := p.Status(t, "GET", "/me"); got != 401 {
		t.Errorf("without a token: %d", got)
	}
	p.PasteLines(t)
	p.End(t)
}

func TestProgram_provider(t *testing.T) {
	provider := jwthttptest.Start(t, "RS256")
	t.Setenv("ISSUER", provider.Name())
	p := exampletest.Start(t)
	token := func(change map[string]any) string {
		claims := map[string]any{"aud": "https://api.example"}
		maps.Copy(claims, change)
		return "Bearer " + provider.Token(claims)
	}
	other := jwthttptest.New(t, "RS256")
	for _, tt := range []struct {
		name, method, path, authorization string
		want                              int
	}{
		{"the public route", "GET", "/health", "", 200},
		{"no token", "GET", "/me", "", 401},
		{"a token", "GET", "/me", token(nil), 200},
		{"the provider's clock is ahead", "GET", "/me", token(map[string]any{"iat": time.Now().Add(10 * time.Second).Unix()}), 200},
		{"an expired token", "GET", "/me", token(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), 401},
		{"a token for another API", "GET", "/me", token(map[string]any{"aud": "https://other.example"}), 401},
		{"a token of another provider", "GET", "/me", "Bearer " + other.Token(map[string]any{"aud": "https://api.example"}), 401},
		{"a token signed by another provider", "GET", "/me", "Bearer " + other.Token(map[string]any{"iss": provider.Name(), "aud": "https://api.example"}), 401},
		{"an order without the scope", "POST", "/orders", token(map[string]any{"scope": "orders:read"}), 403},
		{"an order", "POST", "/orders", token(map[string]any{"scope": "orders:read orders:write"}), 201},
		{"an order without a token", "POST", "/orders", "", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.Status(t, tt.method, tt.path, "Authorization", tt.authorization); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
	p.End(t)
	for _, want := range []string{`GET "/me": jwthttp: audience: `, `GET "/me": jwthttp: expired: `, `POST "/orders": jwthttp: scope: `} {
		if !strings.Contains(p.Log(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}
