package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	idle         = 14 * 24 * time.Hour // a refresh token that is not used
	longest      = 90 * 24 * time.Hour // a session, however often it is refreshed
	queryTimeout = 5 * time.Second
)

// schema: ended is when the session ended, or 0. told is 1 when its access tokens
// are revoked, too. A token is replaced once it has been used; sealed has its
// successor for a client that did not get the answer.
const schema = `
CREATE TABLE IF NOT EXISTS sessions (
	id TEXT PRIMARY KEY, subject TEXT NOT NULL, client TEXT NOT NULL, expires INTEGER NOT NULL,
	ended INTEGER NOT NULL DEFAULT 0, told INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tokens (
	hash BLOB PRIMARY KEY, session TEXT NOT NULL REFERENCES sessions (id), expires INTEGER NOT NULL,
	replaced INTEGER NOT NULL DEFAULT 0, successor BLOB, sealed BLOB
);
CREATE INDEX IF NOT EXISTS tokens_session ON tokens (session);
CREATE INDEX IF NOT EXISTS tokens_successor ON tokens (successor);
CREATE INDEX IF NOT EXISTS sessions_untold ON sessions (id) WHERE ended > 0 AND told = 0;`

// sessions are logins. All tokens of a session have its ID as "sid".
type sessions struct {
	db      *sql.DB
	now     func() time.Time
	grace   time.Duration // for a client that did not get the answer
	blocked func(subject string) bool
}

func newSessions(ctx context.Context, db *sql.DB, cfg config) (*sessions, error) {
	_, err := db.ExecContext(ctx, schema)
	return &sessions{db, cfg.now, cfg.grace, cfg.blocked}, err
}

// session is what an access token is made of.
type session struct{ id, subject string }

var (
	errInvalid = errors.New("refresh token is unknown, expired, or of an ended session")
	errReused  = errors.New("refresh token was used before, so the session has ended")
	errBlocked = errors.New("user is blocked, so the session has ended")
)

// begin begins a session and returns its first refresh token.
func (s *sessions) begin(ctx context.Context, subject, client string) (session, string, error) {
	now, token := s.now(), newToken()
	n := session{rand.Text(), subject}
	err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// Of a session, everything is kept until no token of it can be valid, so
		// that the reuse of an old token is noticed.
		_, err1 := tx.ExecContext(ctx, `DELETE FROM tokens WHERE session IN (SELECT id FROM sessions WHERE expires < ?)`, now.Add(-time.Hour).UnixMilli())
		_, err2 := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires < ?`, now.Add(-time.Hour).UnixMilli())
		_, err3 := tx.ExecContext(ctx, `INSERT INTO sessions (id, subject, client, expires) VALUES (?, ?, ?, ?)`, n.id, subject, client, now.Add(longest).UnixMilli())
		return errors.Join(err1, err2, err3, insertToken(ctx, tx, token, n.id, now))
	})
	return n, token, err
}

func insertToken(ctx context.Context, tx *sql.Tx, token, session string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO tokens (hash, session, expires) VALUES (?, ?, ?)`, hashOf(token), session, now.Add(idle).UnixMilli())
	return err
}

// stored is a refresh token with its session as the database has them. Times are
// in milliseconds.
type stored struct {
	session
	client            string
	expires, replaced int64
	successor, sealed []byte
	sessionExpires    int64
	ended             int64
	successorReplaced sql.NullInt64
}

// refresh exchanges a refresh token for its successor. The look-up and all changes
// are one transaction, so of simultaneous requests one makes the successor.
func (s *sessions) refresh(ctx context.Context, token, client string) (n session, successor string, err error) {
	var refused error // after which the transaction is committed
	err = s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		t, err := find(ctx, tx, token)
		if err != nil {
			return err
		}
		now := s.now()
		switch at := now.UnixMilli(); {
		case t.ended > 0 || at >= t.sessionExpires || t.client != client:
			return errInvalid
		case s.blocked(t.subject):
			refused = errBlocked
			return s.markEnded(ctx, tx, t.id)
		case t.replaced > 0:
			// A client that has used the successor has got the answer.
			if at-t.replaced > s.grace.Milliseconds() || t.successorReplaced.Int64 > 0 {
				refused = errReused
				return s.markEnded(ctx, tx, t.id)
			}
			n = t.session
			successor, err = open(token, t.sealed)
			return err
		case at >= t.expires:
			return errInvalid
		}
		n, successor = t.session, newToken()
		return replace(ctx, tx, t, token, successor, now)
	})
	if err == nil {
		err = refused
	}
	return n, successor, err
}

func find(ctx context.Context, tx *sql.Tx, token string) (t stored, err error) {
	err = tx.QueryRowContext(ctx, `
		SELECT s.id, s.subject, s.client, s.expires, s.ended, t.expires, t.replaced, t.successor, t.sealed, n.replaced
		FROM tokens t JOIN sessions s ON s.id = t.session LEFT JOIN tokens n ON n.hash = t.successor
		WHERE t.hash = ?`, hashOf(token)).
		Scan(&t.id, &t.subject, &t.client, &t.sessionExpires, &t.ended, &t.expires, &t.replaced, &t.successor, &t.sealed, &t.successorReplaced)
	if errors.Is(err, sql.ErrNoRows) {
		err = errInvalid
	}
	return t, err
}

// replace stores the successor of a token, and forgets what is sealed for the
// client that has sent the token: it has got that answer.
func replace(ctx context.Context, tx *sql.Tx, t stored, token, successor string, now time.Time) error {
	sealed, err := seal(token, successor)
	if err != nil {
		return err
	}
	if err := insertToken(ctx, tx, successor, t.id, now); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE tokens SET sealed = NULL WHERE successor = ?`, hashOf(token)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE tokens SET replaced = ?, successor = ?, sealed = ? WHERE hash = ?`,
		now.UnixMilli(), hashOf(successor), sealed, hashOf(token))
	return err
}

// end ends the session of a refresh token, current or not. An unknown token is no
// error (RFC 7009 §2.2).
func (s *sessions) end(ctx context.Context, token string) error {
	err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		t, err := find(ctx, tx, token)
		if err != nil {
			return err
		}
		return s.markEnded(ctx, tx, t.id)
	})
	if errors.Is(err, errInvalid) {
		return nil
	}
	return err
}

func (s *sessions) markEnded(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := tx.ExecContext(ctx, `UPDATE sessions SET ended = ? WHERE id = ? AND ended = 0`, s.now().UnixMilli(), id)
	return err
}

// tell calls revoke for each ended session whose access tokens are not revoked yet.
// It is called after each end and at the start of the program, so a session whose
// access tokens could not be revoked is not forgotten.
func (s *sessions) tell(ctx context.Context, revoke func(ctx context.Context, id string) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	ids, err := s.untold(ctx)
	for _, id := range ids {
		if e := revoke(ctx, id); e != nil {
			err = errors.Join(err, fmt.Errorf("session %s: %w", id, e))
			continue
		}
		_, e := s.db.ExecContext(ctx, `UPDATE sessions SET told = 1 WHERE id = ?`, id)
		err = errors.Join(err, e)
	}
	return err
}

func (s *sessions) untold(ctx context.Context) (ids []string, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id FROM sessions WHERE ended > 0 AND told = 0 LIMIT 1000`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// inTransaction commits what f does, unless f fails. A client that hangs up does not
// stop it.
func (s *sessions) inTransaction(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
