package main

import (
	"context"
	"database/sql"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// poll is how often an instance asks the file for revocations of the others.
const poll = 100 * time.Millisecond

// openStore opens the revocations in a SQLite file, which the instances of a site
// share. The store ends with ctx, and the file is closed then.
func openStore(ctx context.Context, file string, cfg config, onError func(error)) (*sqlrevocation.Store, error) {
	// With these settings a commit is on the disk when it returns, and writers
	// wait for each other.
	name := url.URL{Scheme: "file", Opaque: file, RawQuery: "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(1000)&_txlock=immediate"}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	store, err := sqlrevocation.Open(ctx, db, sqlrevocation.Options{Dialect: sqlrevocation.SQLite, Poll: poll, OnError: onError})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	cfg.closing.Go(func() {
		<-ctx.Done()
		store.Wait()
		_ = db.Close()
	})
	return store, nil
}
