package sqlrevocation_test

import (
	"context"
	"database/sql"
	"log"
	"net/http"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

type Claims struct {
	Role string `json:"role"`
}

func Example() {
	ctx := context.Background() // until the program ends
	// The program imports the driver: _ "modernc.org/sqlite"
	db, err := sql.Open("sqlite", "file:revocations.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(1000)")
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqlrevocation.Open(ctx, db, sqlrevocation.Options{Dialect: sqlrevocation.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	var issuers []jwthttp.Issuer // as usual
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: issuers, Revoked: store.Revoked})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("POST /logout", auth.Handler(logout(store)))
	http.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		if err := store.Ready(r.Context()); err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

func logout(store revocation.Store) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := jwthttp.TokenFromContext(r.Context())
		if !ok {
			http.Error(w, "not logged in", http.StatusUnauthorized)
			return
		}
		// A browser that leaves the page cancels the context of its request.
		if err := store.RevokeToken(context.WithoutCancel(r.Context()), token); err != nil {
			http.Error(w, "not logged out, try again", http.StatusServiceUnavailable)
		}
	}
}

// All tokens of a user are revoked that were issued until now.
func ExampleStore_Revoke() {
	everywhere := func(ctx context.Context, store *sqlrevocation.Store, user string) error {
		return store.Revoke(ctx, revocation.Entry{
			Kind:        revocation.BySubject,
			Issuer:      "https://login.example",
			Value:       user,
			IssuedUntil: time.Now(),
			Expires:     time.Now().Add(time.Hour), // the longest that a token lives
		})
	}
	_ = everywhere
}
