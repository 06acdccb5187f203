// Package jwthttp is net/http middleware that authenticates requests with a JSON
// Web Token (RFC 7519, RFC 6750) and puts typed claims into their context.
//
//	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
//		Name:       "https://login.example",
//		Audience:   []string{"https://api.example"},
//		Algorithms: []string{"RS256"},
//		Keys:       keys, // jwks.Discover(ctx, "https://login.example", jwks.Options{})
//	}}})
//	...
//	mux.Handle("/notes", auth.RequireScopes("notes:read").Handler(notes))
//
// The handler calls [MustClaims] for the claims. Package jwks fetches key sets,
// package revocation ends tokens early, and package jwthttptest makes tokens for
// tests.
//
// # How a request is checked
//
// [New] compiles [Options] into an immutable [Middleware]. Each request passes
// the same steps:
//
//	extract -> verify -> revocation -> level, scopes -> context -> rules -> next
//	Extractor  Issuer    Revoked       Require...       Claims...  Require
//
// A request that fails a step gets an error response: 400 for a malformed
// credential, 401 for a missing or invalid token, 403 for insufficient rights,
// 500 if the server is set up wrong, and 503 if keys or revocations are
// unavailable. [Error] has the cause for logs.
//
// There is no URL skip list (use your router) and no way to disable
// verification.
//
// # Pitfalls
//
//   - Around a router, rules see empty path values. Put a rule that compares the
//     path with claims on the route.
//   - Optional rejects an invalid token, such as an expired cookie. For public
//     pages, use AllowAnonymous.
//   - Most issuers write "iat" in whole seconds. A login in the same second as
//     "sign out everywhere" gets a token that is already revoked.
//   - A handler that streams continues after the token has expired, unless it
//     stops when the context of [Middleware.Watch] ends.
//   - auth.RequireScopes("admin") alone on a line has no effect: the result is the
//     derived Middleware.
//   - Expiry, issuer and audience are checked before the signature. A token that
//     is refused as expired may be forged.
//
// Where a standard is ambiguous, this package takes the stricter reading, unless
// that refuses good tokens of real issuers: a claim that is null counts as
// absent, identifiers may be integers, and "scope" may be an array.
package jwthttp
