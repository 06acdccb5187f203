// Package providers tests jwthttp with identity providers that others wrote. Each
// test starts a provider on loopback, gets tokens from it by a real flow, and sends
// them to a middleware with the options of docs/providers.md.
//
// Some providers are programs: npm ci in the folder examples, and the packages
// glewlwyd and sqlite3 of Debian. Without them, their tests are skipped, or fail if
// the environment variable CI is true.
package providers
