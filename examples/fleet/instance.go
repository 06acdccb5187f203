package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/redisrevocation"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

const (
	issuerName = "https://fleet.example"
	lifetime   = time.Hour
	leeway     = 30 * time.Second // between the clocks of the instances

	// maxStale is how long an instance serves without news from the store. After
	// that it answers 503, because it does not know who has signed out.
	maxStale = 10 * time.Second
)

// store is implemented by the stores of redisrevocation and sqlrevocation.
type store interface {
	revocation.Store
	Staleness() time.Duration
	Wait()
}

// openStore opens the SQLite file or, if there is an address, Redis. The store
// ends with ctx. Call closeStore after its Wait.
func openStore(ctx context.Context, data, redisAddr string, log *slog.Logger) (s store, closeStore func() error, err error) {
	warn := func(err error) { log.Warn("revocations", "err", err) }
	if redisAddr != "" {
		client := redis.NewClient(&redis.Options{Addr: redisAddr})
		s, err = redisrevocation.Open(ctx, client, redisrevocation.Options{Prefix: "jwthttp-fleet", MaxStale: maxStale, OnError: warn})
		return s, client.Close, err
	}
	// With these settings a commit is on the disk when it returns, and writers
	// wait for each other.
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "revocations.db")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(1000)&_txlock=immediate")
	if err != nil {
		return nil, nil, err
	}
	s, err = sqlrevocation.Open(ctx, db, sqlrevocation.Options{
		Dialect: sqlrevocation.SQLite, Poll: 100 * time.Millisecond, MaxStale: maxStale, OnError: warn,
	})
	return s, db.Close, err
}

// runInstance serves until ctx ends. The first line of stdout is its address.
func runInstance(ctx context.Context, number int, secret []byte, data, redisAddr string, stdout io.Writer, log *slog.Logger) error {
	// Requests under way when ctx ends may still sign out.
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStore()
	s, closeStore, err := openStore(storeCtx, data, redisAddr, log)
	if err != nil {
		return err
	}
	defer func() {
		stopStore()
		s.Wait()
		_ = closeStore()
	}()
	handler, err := newAPI(secret, s, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Instance", fmt.Sprint(number))
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
	}
	fmt.Fprintln(stdout, listener.Addr())
	return serveUntil(ctx, server, listener)
}

// newAPI is the API of one instance. Apart from the store, it does not know that
// there are others.
func newAPI(secret []byte, s store, log *slog.Logger) (http.Handler, error) {
	auth, err := jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: issuerName, Audience: []string{issuerName}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
		}},
		Leeway:    leeway,
		Revoked:   s.Revoked,
		CacheSize: 10_000,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) { login(w, r, secret) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) { ready(w, r, s) })
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, jwthttp.MustClaims[jwt.RegisteredClaims](r.Context()).Subject)
	})))
	// done answers 204 only if the store has acknowledged the revocation, because
	// otherwise it may get lost.
	done := func(w http.ResponseWriter, err error) {
		if err != nil {
			log.Error("revoke", "err", err)
			http.Error(w, "cannot sign out at the moment, try again", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	mux.Handle("POST /logout", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		// A client that hangs up cancels r.Context(), which must not stop a logout.
		done(w, s.RevokeToken(context.WithoutCancel(r.Context()), token))
	})))
	mux.Handle("POST /logout/everywhere", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		// An instance whose clock is ahead may already have issued tokens with a
		// later iat. So a new sign-in works only after the leeway.
		until := time.Now().Add(leeway)
		done(w, s.Revoke(context.WithoutCancel(r.Context()), revocation.Entry{
			Kind: revocation.BySubject, Issuer: token.Issuer, Value: token.Subject,
			IssuedUntil: until, Expires: until.Add(lifetime),
		}))
	})))
	return mux, nil
}

// ready is for a load balancer.
func ready(w http.ResponseWriter, r *http.Request, s store) {
	if err := s.Ready(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintf(w, "ready: pid %d, revocations as of %v ago\n", os.Getpid(), s.Staleness().Round(time.Millisecond))
}

func login(w http.ResponseWriter, r *http.Request, secret []byte) {
	var form struct{ Username, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&form); err != nil {
		http.Error(w, "want a JSON object with username and password", http.StatusBadRequest)
		return
	}
	if !demo.NewUsers().Check(form.Username, form.Password) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: issuerName, Audience: jwt.ClaimStrings{issuerName}, Subject: form.Username, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
	}).SignedString(secret)
	if err != nil {
		http.Error(w, "no token at the moment", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
}
