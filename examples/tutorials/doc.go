// Package tutorials contains only tests: the programs of tutorials about JSON Web
// Tokens, with their routes and names, written with jwthttp and tested over a
// socket.
//
// The programs have no user database. See ../login for passwords and keys.
package tutorials
