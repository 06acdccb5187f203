package main

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/jwks"
)

// The host of a tenant is its name and this domain.
const domain = ".example"

// config is what newSite needs.
type config struct {
	url     string // of the program
	users   demo.Users
	ttl     time.Duration
	tenants int          // at most
	client  *http.Client // that fetches keys, or nil
}

// site is the API and the page.
type site struct {
	config
	db        *sql.DB // the tenants
	auth      *jwthttp.Middleware
	providers *providers
	pool      *jwks.Pool
	lookUps   atomic.Int64 // of FindIssuer
}

// The issuer is indexed, because clients can invent names. SQLite compares text byte
// for byte unless a collation is named.
const schema = `CREATE TABLE tenants (name TEXT PRIMARY KEY, issuer TEXT NOT NULL UNIQUE) STRICT`

// newSite returns a site without tenants. Its resources are in use until ctx ends.
func newSite(ctx context.Context, c config) (*site, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // another connection would be another database
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	context.AfterFunc(ctx, func() { _ = db.Close() })
	s := &site{config: c, db: db}
	s.providers = &providers{url: c.url, users: c.users, most: c.tenants, keys: map[string]ed25519.PrivateKey{}}
	s.pool, err = jwks.NewPool(ctx, jwks.PoolOptions{Options: jwks.Options{Client: c.client}, MaxSets: c.tenants})
	if err != nil {
		return nil, err
	}
	s.auth, err = jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{FindIssuer: s.findIssuer, IssuerTTL: c.ttl, MaxIssuers: c.tenants})
	if err != nil {
		return nil, err
	}
	s.auth = s.auth.Require(s.ofHost)
	return s, nil
}

// findIssuer looks up the issuer of a tenant. The name comes from a token that
// is not verified yet. Everything in the answer comes from the table.
func (s *site) findIssuer(ctx context.Context, name string) (*jwthttp.Issuer, error) {
	s.lookUps.Add(1)
	var issuer string
	err := s.db.QueryRowContext(ctx, `SELECT issuer FROM tenants WHERE issuer = ?`, name).Scan(&issuer)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // a 401
	}
	if err != nil {
		return nil, err // a 503
	}
	return &jwthttp.Issuer{
		Name:       issuer,
		Audience:   []string{audience},
		Algorithms: []string{"EdDSA"},
		Keys:       s.pool.Discover(issuer),
	}, nil
}

// ofHost is the rule that rejects a token of one tenant at the host of another.
func (s *site) ofHost(r *http.Request) error {
	name, ok := strings.CutSuffix(strings.ToLower(r.Host), domain)
	token, found := jwthttp.TokenFromContext(r.Context())
	if !ok || !found || token.Issuer != s.providers.issuer(name) {
		return errors.New("token of another tenant")
	}
	return nil
}

// add adds a tenant and starts its provider.
func (s *site) add(ctx context.Context, name string) error {
	if err := s.providers.start(name); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, `INSERT OR IGNORE INTO tenants VALUES (?, ?)`, name, s.providers.issuer(name))
	return err
}

// drop drops a tenant. Its provider continues, and its tokens have not expired.
func (s *site) drop(ctx context.Context, name string) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM tenants WHERE name = ?`, name)
	return err
}

// names returns the tenants.
func (s *site) names(ctx context.Context) (names []string, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT name FROM tenants ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
