// Sso is single sign-on in small: an identity service, and two sites that
// leave the passwords to it.
//
//	go run -C examples ./sso
//
// One login opens both sites, one logout ends both, and the key that signs is
// changed under way without a request noticing. It prints the addresses of the
// three and what to try. Each of them would be a program of its own; they share
// nothing here but types and a few functions, and talk to each other by HTTP.
package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/seed450a7203/jwthttp"
)

// leeway is what the clocks of the three may differ by.
const leeway = time.Minute

//go:embed web
var web embed.FS

var pages = template.Must(template.ParseFS(web, "web/*.html"))

// config is what the three agree on.
type config struct {
	users    userStore     // the identity service's alone
	lifetime time.Duration // of an access token
	interval time.Duration // between a site's requests for the key set, and thus the announcement of a new key
	log      *slog.Logger
}

func main() {
	// Both signals end the program in order: requests under way are answered.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sso:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. The greeting goes to stdout, the log to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("sso", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addrs := []*string{
		flags.String("idp", "127.0.0.1:8080", "`address` of the identity service; port 0 picks a free one"),
		flags.String("a", "127.0.0.1:8081", "`address` of site A"),
		flags.String("b", "127.0.0.1:8082", "`address` of site B"),
	}
	cfg := config{users: demoUsers(), log: slog.New(slog.NewTextHandler(stderr, nil))}
	flags.DurationVar(&cfg.lifetime, "lifetime", 5*time.Minute, "how long an access token is valid")
	flags.DurationVar(&cfg.interval, "interval", 10*time.Second, "the sites' least time between requests for the keys")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if cfg.lifetime < time.Second || cfg.interval <= 0 {
		return fmt.Errorf("-lifetime: %v, -interval: %v: want a second or more, and more than nothing", cfg.lifetime, cfg.interval)
	}
	// All three listen before the first is made: they know each other by address.
	var listeners []net.Listener
	for _, addr := range addrs {
		l, err := net.Listen("tcp", *addr)
		if err != nil {
			return err
		}
		defer l.Close()
		if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
			return fmt.Errorf("%s: not a loopback address, and this speaks http", *addr)
		}
		listeners = append(listeners, l)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	idp, a, b, err := build(ctx, listeners, cfg)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, greeting(idp.url, a.url, b.url))
	handlers := []http.Handler{idp.handler, a.handler, b.handler}
	ended := make(chan error, len(listeners))
	for n, l := range listeners {
		go func() {
			ended <- serve(ctx, l, handlers[n], cfg.log)
			stop() // if one is down, the others are of no use
		}()
	}
	for range listeners {
		err = errors.Join(err, <-ended)
	}
	return err
}

// build makes the three for the addresses that they listen on.
func build(ctx context.Context, listeners []net.Listener, cfg config) (idp *identity, a, b *site, err error) {
	var urls []string
	for _, l := range listeners {
		urls = append(urls, "http://"+l.Addr().String())
	}
	idp, err = newIdentity(urls[0], map[string]string{"a": urls[1], "b": urls[2]}, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	a, err = newSite(ctx, "a", urls[1], urls[2], urls[0], cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	b, err = newSite(ctx, "b", urls[2], urls[1], urls[0], cfg)
	return idp, a, b, err
}

// serve answers requests until ctx ends, and then those under way.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second, // without timeouts, slow clients keep connections for good
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down", "address", listener.Addr().String())
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}

// withSecurityHeaders goes around the service at self. Its forms may lead to
// the given others: a browser holds form-action against redirects too.
func withSecurityHeaders(self string, others []string, next http.Handler) http.Handler {
	policy := "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + strings.Join(others, " ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // a code in an address is nobody else's business
		h.Set("Cache-Control", "no-store")      // RFC 6749 §5.1, and an old key set is of no use
		if "http://"+r.Host != self {
			// localhost and 127.0.0.1 have cookies of their own each: a
			// sign-in that begins under one name would not end under the other.
			http.Redirect(w, r, self+"/", http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// observer is the jwthttp.Options.Observer of all three. None of what it logs
// can hold a token or a code: of the URL the path only, of the token what it
// says, of the error what jwthttp keeps free of it.
func observer(log *slog.Logger) func(*http.Request, jwthttp.Event) {
	return func(r *http.Request, e jwthttp.Event) {
		fields := []any{"method", r.Method, "path", r.URL.Path, "took", e.Took}
		if e.Token != nil {
			fields = append(fields, "subject", e.Token.Subject, "kid", e.Token.KeyID)
		}
		if e.Err == nil {
			log.Info("admitted", fields...)
			return
		}
		level := slog.LevelInfo
		if e.Err.Status >= 500 {
			level = slog.LevelError
		}
		log.Log(r.Context(), level, "refused", append(fields, "reason", e.Err.Reason, "status", e.Err.Status, "cause", e.Err.Err)...)
	}
}

// post sends a form from one server to another, and fails unless all is well.
func post(ctx context.Context, to, bearer string, form url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // no redirects: the form is for this address only
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return body, err
}

// setCookie sets a cookie for browsers, or with a negative lifetime removes it.
// With the prefix __Host- no other host can set it.
func setCookie(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	maxAge := int(lifetime.Seconds())
	if lifetime < 0 {
		maxAge = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// message is a page that says one thing.
type message struct{ Title, Text string }

func show(w http.ResponseWriter, status int, page string, content any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, page, content); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func style(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, web, "web/style.css") }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, log *slog.Logger, err error) {
	log.Error("internal error", "error", err)
	http.Error(w, "internal error", http.StatusInternalServerError)
}

// greeting has the addresses, what to try in a browser, and lines to paste into
// a shell, each of which prints a status and the one that it should be.
func greeting(idp, a, b string) string {
	return strings.NewReplacer("IDP", idp, "SITE_A", a, "SITE_B", b).Replace(`Site A            SITE_A
Site B            SITE_B
Identity service  IDP
Sign in as alice, down-the-rabbit-hole; or as ada, analytical-engine, who may rotate the key.
Open site A and sign in, open site B, rotate the key at the identity service, sign out anywhere.
Or paste this into a shell:

JAR=$(mktemp); SEE='%{http_code} at %{url_effective}, expected'; browse() { curl -s -L -o /dev/null -c "$JAR" -b "$JAR" -H 'Accept: text/html' "$@"; }
curl -s -o /dev/null -w "$SEE 401 at SITE_A: no token\n" SITE_A
LOGIN=$(browse -w '%{url_effective}' SITE_A)
browse -w "$SEE 200 at IDP/authorize: sent there to sign in\n" "$LOGIN"
browse -w "$SEE 200 at SITE_A: signed in\n" -d 'username=ada&password=analytical-engine' "$LOGIN"
browse -w "$SEE 200 at SITE_B: without a password\n" SITE_B
browse -w "$SEE 200 at IDP: a new key is published\n" -d '' IDP/rotate
curl -s -w "\n$SEE 200 at IDP/keys: two keys\n" IDP/keys
browse -w "$SEE 200 at SITE_A: the token of the first key goes on\n" SITE_A
browse -w "$SEE 200 at SITE_A/signed-out: and at B too\n" -d '' SITE_A/logout
browse -w "$SEE 200 at IDP/authorize: B asks to sign in\n" SITE_B
rm "$JAR"

`)
}
