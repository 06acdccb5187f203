// Sso is a small single sign-on: an identity service, which checks the passwords,
// and two sites.
//
//	go run -C examples ./sso
//
// One login signs in at both sites, one logout signs out of both, and the signing
// key can be rotated without a rejected request. The program prints three
// addresses and what to try. Real services would be separate programs. These share
// only types and a few functions, and talk to each other by HTTP.
package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
)

// leeway is the clock skew allowed between the three services.
const leeway = time.Minute

//go:embed web
var web embed.FS

var pages = demo.Pages(web)

// config is shared by the three services.
type config struct {
	users    demo.Users    // for the identity service only
	lifetime time.Duration // of an access token
	interval time.Duration // minimum time between a site's requests for keys, and between publication and use of a key
	data     string        // folder of the revocations
	board    *board
	closing  *sync.WaitGroup // ends when the files are closed
	log      *slog.Logger
}

func main() {
	// After either signal, requests under way are answered before the program ends.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sso:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It prints the greeting to stdout and logs to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("sso", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addrs := []*string{
		flags.String("idp", "127.0.0.1:8080", "`address` of the identity service; port 0 picks a free one"),
		flags.String("a", "127.0.0.1:8081", "`address` of site A"),
		flags.String("b", "127.0.0.1:8082", "`address` of site B"),
		flags.String("a2", "127.0.0.1:8083", "`address` of the second instance of site A"),
		flags.String("b2", "127.0.0.1:8084", "`address` of the second instance of site B"),
	}
	cfg := config{users: demo.NewUsers(), board: newBoard(2 * time.Second), closing: new(sync.WaitGroup), log: slog.New(slog.NewTextHandler(stderr, nil))}
	flags.DurationVar(&cfg.lifetime, "lifetime", 5*time.Minute, "how long an access token is valid")
	flags.DurationVar(&cfg.interval, "interval", 10*time.Second, "minimum time between a site's requests for keys")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if cfg.lifetime < time.Second || cfg.interval <= 0 {
		return fmt.Errorf("-lifetime: %v, -interval: %v: want at least a second, and more than 0", cfg.lifetime, cfg.interval)
	}
	var err error
	if cfg.data, err = os.MkdirTemp("", "jwthttp-sso-"); err != nil { // tokens are valid for minutes only
		return err
	}
	defer os.RemoveAll(cfg.data)
	// All listen first, because they need each other's addresses.
	listeners, err := listenAll(addrs)
	if err != nil {
		return err
	}
	// Requests under way when ctx ends may still sign out.
	sitesCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		stop()
		cfg.closing.Wait()
	}()
	defer closeAll(listeners)
	idp, a, b, err := build(sitesCtx, listeners, cfg)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, greeting(idp.url, a.url, b.url))
	return serveAll(ctx, listeners, []http.Handler{idp.handler, a.handler, b.handler, a.second, b.second}, cfg.log)
}

// serveAll serves the nth handler on the nth listener until ctx ends or one fails.
func serveAll(ctx context.Context, listeners []net.Listener, handlers []http.Handler, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(listeners))
	for n, l := range listeners {
		go func() {
			ended <- serve(ctx, l, handlers[n], log)
			stop() // if one fails, end the others
		}()
	}
	var err error
	for range listeners {
		err = errors.Join(err, <-ended)
	}
	return err
}

func listenAll(addrs []*string) (listeners []net.Listener, err error) {
	for _, addr := range addrs {
		l, err := listen(*addr)
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		_ = l.Close()
		return nil, fmt.Errorf("%s: not a loopback address, which http requires", addr)
	}
	return l, nil
}

// build returns the services for the addresses that they listen on: the identity
// service, the sites, and the second instances of the sites.
func build(ctx context.Context, listeners []net.Listener, cfg config) (idp *identity, a, b *site, err error) {
	var urls []string
	for _, l := range listeners {
		urls = append(urls, "http://"+l.Addr().String())
	}
	idp, err = newIdentity(urls[0], map[string]string{"a": urls[1], "b": urls[2]}, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	a, err = newSite(ctx, "a", urls[1], urls[3], urls[2], urls[0], cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	b, err = newSite(ctx, "b", urls[2], urls[4], urls[1], urls[0], cfg)
	return idp, a, b, err
}

// serve answers requests until ctx ends, and then finishes those under way.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second, // without timeouts, slow clients hold connections forever
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

// withSecurityHeaders wraps the service at self. Its forms may lead to the given
// others, because browsers apply form-action to redirects, too.
func withSecurityHeaders(self string, others []string, next http.Handler) http.Handler {
	policy := "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + strings.Join(others, " ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // so that a code in the URL does not reach other sites
		h.Set("Cache-Control", "no-store")      // RFC 6749 §5.1
		if "http://"+r.Host != self {
			// Browsers keep cookies of localhost and 127.0.0.1 apart, so a sign-in
			// must not change from one to the other.
			http.Redirect(w, r, self+"/", http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// observer returns the jwthttp.Options.Observer of the three services. It logs
// nothing that can contain a token or a code: the path but not the query, single
// claims, and the cause of a refusal.
func observer(log *slog.Logger) func(context.Context, jwthttp.Event) {
	return func(ctx context.Context, e jwthttp.Event) {
		fields := []any{"took", e.Took}
		if e.Request != nil { // nil for a call of Verify
			fields = append(fields, "method", e.Request.Method, "path", e.Request.URL.Path)
		}
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
		log.Log(ctx, level, "refused", append(fields, "reason", e.Err.Reason, "status", e.Err.Status, "cause", e.Err.Err)...)
	}
}

// post sends a form from one server to another. A status other than 2xx is an error.
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
	resp, err := http.DefaultTransport.RoundTrip(r) // follows no redirects, because the form is for this address only
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

// setCookie sets a cookie, or deletes it if lifetime is negative. With the prefix
// __Host- no other host can set it.
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

// message is the data of a page with one text. At is the ID of a site, or "idp".
type message struct {
	At, Title, Text string
	Arrivals        []arrival
}

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

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, log *slog.Logger, err error) {
	log.Error("internal error", "error", err)
	http.Error(w, "internal error", http.StatusInternalServerError)
}

// greeting returns the addresses, what to try in a browser, and lines to paste into
// a shell. Each line prints the status and the expected status.
func greeting(idp, a, b string) string {
	return strings.NewReplacer("IDP", idp, "SITE_A", a, "SITE_B", b).Replace(`Site A            SITE_A
Site B            SITE_B
Identity service  IDP
Sign in as alice, down-the-rabbit-hole; or as ada, analytical-engine, who may rotate the key.
Open site A and sign in, start a program there, open site B, rotate the key at the identity service, sign out anywhere.
The last page shows how long it took until each place refused the tokens. Each site has two instances, which share a SQLite file.
Or paste this into a shell:

JAR=$(mktemp); SEE='%{http_code} at %{url_effective}, expected'; browse() { curl -s -L -o /dev/null -c "$JAR" -b "$JAR" -H 'Accept: text/html' "$@"; }
curl -s -o /dev/null -w "$SEE 401 at SITE_A: no token\n" SITE_A
LOGIN=$(browse -w '%{url_effective}' SITE_A)
browse -w "$SEE 200 at IDP/authorize: redirected to sign in\n" "$LOGIN"
browse -w "$SEE 200 at SITE_A: signed in\n" -d 'username=ada&password=analytical-engine' "$LOGIN"
browse -w "$SEE 200 at SITE_B: without a password\n" SITE_B
browse -w "$SEE 200 at IDP: a new key is published\n" -d '' IDP/rotate
curl -s -w "\n$SEE 200 at IDP/keys: two keys\n" IDP/keys
browse -w "$SEE 200 at SITE_A: the token of the first key stays valid\n" SITE_A
browse -w "$SEE 200 at SITE_A: a program uses the token at the second instance\n" -d '' SITE_A/program
browse -w "$SEE 200 at SITE_A/signed-out: signed out of both\n" -d '' SITE_A/logout
browse -w "$SEE 200 at IDP/authorize: B asks to sign in\n" SITE_B
rm "$JAR"

`)
}
