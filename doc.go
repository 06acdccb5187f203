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
// The handler gets the claims from [MustClaims]. Package jwks fetches key sets,
// revocation ends tokens early, and jwthttptest makes tokens for tests.
//
// # How a request is checked
//
// Each request passes the same steps:
//
//	extract -> verify -> bind -> revocation -> level, scopes -> context -> rules -> next
//	Extractor  Issuer    DPoP    Revoked       Require...       Claims...  Require
//
// A request that fails a step is refused: 400 for a malformed credential, 401
// for a missing or invalid token, 403 for insufficient rights, 500 if the server
// is set up wrong, and 503 if keys or revocations are unavailable.
//
// There is no URL skip list (use your router) and no way to disable
// verification.
//
// # Pitfalls
//
//   - Around a router, rules see empty path values. Put a rule that needs them on
//     the route.
//   - Optional rejects an invalid token, such as an expired cookie. For public
//     pages, use AllowAnonymous.
//   - Most issuers write "iat" in whole seconds. A login in the same second as
//     "sign out everywhere" gets a token that is already revoked.
//   - A handler that streams continues after the token has expired. See
//     [Middleware.Watch].
//   - auth.RequireScopes("admin") alone on a line has no effect. It returns the
//     derived Middleware.
//   - Expiry, issuer and audience are checked before the signature. An expired
//     token may be forged.
//
// Where a standard is ambiguous, this package takes the stricter reading, unless
// that refuses good tokens of real issuers.
package jwthttp
