package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"embed"
	"encoding/json"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/proof"
)

//go:embed web
var web embed.FS

const (
	lifetime = 15 * time.Minute
	audience = "resource"
)

type claims struct {
	jwt.RegisteredClaims
}

// site is the authorization server and the resource.
type site struct {
	url   string // the address of both, and the issuer
	users demo.Users
	key   ed25519.PrivateKey
	used  *jwthttp.ReplayCache // of proofs at the token endpoint
}

// newSite returns the handler of the site at url.
func newSite(url string, users demo.Users) (http.Handler, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &site{url: url, users: users, key: private, used: jwthttp.NewReplayCache(10000)}
	nonceSecret := make([]byte, 32)
	_, _ = rand.Read(nonceSecret) // never fails
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: url, Audience: []string{audience}, Algorithms: []string{"EdDSA"}, Keys: jwthttp.StaticKey(public),
		}},
		DPoP:         &jwthttp.DPoP{BaseURLs: []string{url}, Required: true, NonceSecrets: [][]byte{nonceSecret}},
		ErrorHandler: refuse,
	})
	if err != nil {
		return nil, err
	}
	index := demo.Pages(web)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = index.ExecuteTemplate(w, "index.html", nil) // fails only if the client is gone
	})
	mux.HandleFunc("GET /app.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, web, "web/app.js") })
	mux.HandleFunc("GET /style.css", demo.Style)
	mux.HandleFunc("POST /token", s.token)
	mux.Handle("GET /resource", auth.Handler(http.HandlerFunc(resource)))
	return withSecurityHeaders(http.MaxBytesHandler(mux, 4<<10)), nil
}

func resource(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"hello": jwthttp.MustClaims[claims](r.Context()).Subject})
}

// refuse adds the reason to the answer for the page. A real service logs it instead.
func refuse(w http.ResponseWriter, _ *http.Request, err *jwthttp.Error) {
	w.Header().Set("Example-Reason", string(err.Reason))
	jwthttp.WriteError(w, err)
}

// token is the token endpoint. It binds the token to the key of the proof.
func (s *site) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	name := r.PostFormValue("username")
	p, err := proof.Check(r, s.url+"/token")
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_dpop_proof"})
		return
	}
	if !s.users.Check(name, r.PostFormValue("password")) {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	// Last, so that only users can fill the memory for proofs.
	switch fresh, err := s.used.Fresh(r.Context(), p.ID, p.Until); {
	case err != nil:
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "temporarily_unavailable"})
		return
	case !fresh:
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_dpop_proof"})
		return
	}
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": s.url, "aud": audience, "sub": name, "iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
		"cnf": map[string]string{"jkt": p.Thumbprint},
	}).SignedString(s.key)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "DPoP", "expires_in": int(lifetime.Seconds())})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only if the client is gone
}

func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
