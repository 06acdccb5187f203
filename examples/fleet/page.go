package main

import (
	"embed"
	"net/http"
	"net/http/httputil"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
)

//go:embed web
var web embed.FS

var pages = demo.Pages(web)

// front serves the page, and forwards all other requests to the instances.
func front(b *balancer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("GET /style.css", demo.Style)
	mux.HandleFunc("GET /app.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, web, "web/app.js") })
	mux.Handle("/", &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "fleet"; r.SetXForwarded() },
		Transport: b,
	})
	return mux
}

// home shows the instances. Its script asks each of them, by the field Instance.
func home(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "text/html; charset=utf-8")
	numbers := make([]int, instances)
	for i := range numbers {
		numbers[i] = i + 1
	}
	_ = pages.ExecuteTemplate(w, "index.html", numbers) // it fails if the client is gone
}
