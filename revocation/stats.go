package revocation

import "time"

// Stats describes the copy of the revocations that one instance of a shared store
// has. The Store types of the modules redisrevocation and sqlrevocation return it
// from their method Stats, which looks into memory only.
type Stats struct {
	// Entries is the number of entries on this instance, including those in Lost.
	// Unlike [Store.Len], it includes expired entries that are not deleted yet.
	Entries int

	// Loading is true while the whole store is read again, because the instance
	// cannot follow its changes. Until that has ended, Lost does not include what
	// the instance has not compared yet.
	Loading bool

	// Lost is the number of entries that are in force on this instance although
	// the store has lost them. It returns to zero when they have been written
	// back. If it does not, an instance that starts later does not have them.
	Lost int

	// Healed counts the lost entries that were written back, by this instance or
	// by another one.
	Healed int

	// Loads counts how often the whole store was read, and LastLoad is when that
	// ended last. The first time is when the store was opened.
	Loads    int
	LastLoad time.Time

	// Staleness is how long ago the copy was known to have all that the store had.
	Staleness time.Duration
}
