// Package tutorials has no code but tests: the programs that tutorials about
// JSON Web Tokens build, each with its own routes and names, written with
// jwthttp and nothing else, and driven over a socket.
//
// They leave out where the users come from; ../login has passwords and keys
// as they should be.
package tutorials
