package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
)

//go:embed web
var web embed.FS

var index = demo.Pages(web)

// row is what happens to the token of a name at the host of each tenant.
type row struct {
	Name    string
	Tenant  bool
	Answers []answer
}

type answer struct {
	Status int
	Reason string
}

// handler serves the page and the providers at the address of the program, and the
// API at the hosts of the tenants.
func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /hello", s.auth.Handler(http.HandlerFunc(hello)))
	mux.Handle("127.0.0.1/issuers/", s.providers.handler())
	mux.HandleFunc("GET 127.0.0.1/style.css", demo.Style)
	mux.HandleFunc("GET 127.0.0.1/{$}", s.page)
	mux.HandleFunc("POST 127.0.0.1/add", s.changes(s.add))
	mux.HandleFunc("POST 127.0.0.1/drop", s.changes(s.drop))
	return withSecurityHeaders(http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 4<<10)))
}

func hello(w http.ResponseWriter, r *http.Request) {
	claims := jwthttp.MustClaims[jwt.RegisteredClaims](r.Context())
	_, _ = fmt.Fprintf(w, "hello %s of %s\n", claims.Subject, claims.Issuer)
}

// changes returns a handler that changes the tenants and shows the page again.
func (s *site) changes(change func(context.Context, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch err := change(r.Context(), r.PostFormValue("name")); {
		case errors.Is(err, errRefused):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, "internal error", http.StatusInternalServerError)
		default:
			http.Redirect(w, r, "/", http.StatusSeeOther)
		}
	}
}

// page tries the token of each provider at each host.
func (s *site) page(w http.ResponseWriter, r *http.Request) {
	tenants, err := s.names(r.Context())
	var rows []row
	for _, name := range s.providers.names() {
		var token string
		if token, err = s.providers.token(name, demo.Alice); err != nil {
			break
		}
		tried := row{Name: name, Tenant: slices.Contains(tenants, name)}
		for _, host := range tenants {
			tried.Answers = append(tried.Answers, s.try(r.Context(), token, host+domain))
		}
		rows = append(rows, tried)
	}
	var b bytes.Buffer
	if err == nil {
		err = index.ExecuteTemplate(&b, "index.html", map[string]any{
			"Tenants": tenants, "Domain": domain, "Rows": rows, "TTL": s.ttl,
			"LookUps": s.lookUps.Load(), "Fetches": s.providers.fetches.Load(),
		})
	}
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// try returns what the API answers to a request with a token.
func (s *site) try(ctx context.Context, token, host string) answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/hello", nil)
	if err != nil {
		return answer{http.StatusBadRequest, "host"}
	}
	r.Header.Set("Authorization", "Bearer "+token)
	var refused *jwthttp.Error
	if _, err := s.auth.Authenticate(r); errors.As(err, &refused) {
		return answer{refused.Status, string(refused.Reason)}
	}
	return answer{Status: http.StatusOK}
}

func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
