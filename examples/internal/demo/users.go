// Package demo has what the pages of the examples share: the users, the stylesheet
// and the sign-in hint.
package demo

import "golang.org/x/crypto/bcrypt"

// The users of every example. Their pages show the passwords.
const (
	Alice         = "alice"
	AlicePassword = "down-the-rabbit-hole"
	Ada           = "ada"
	AdaPassword   = "analytical-engine"
)

// Users stands for the database. Of a password it has only the hash.
type Users struct {
	alice, ada string
	decoy      string // the hash of a random password, of the same cost as the others
}

// NewUsers returns alice and ada. The hashes are from bcrypt.GenerateFromPassword
// with cost 12, which takes about 0.2 s.
func NewUsers() Users {
	return Users{
		alice: "$2a$12$tgd2LzgXLZXjBbr4FJm6IOodex9E/EFrANJQP0xbJ3j/nFYyUGLVi",
		ada:   "$2a$12$y2aoLgYw1SG7ZlsmLJ1oDu2El0R0yd9VPdh1iQHTUeYNVHdMt/OiW",
		decoy: "$2a$12$lRZUOWIbN3nTJBD6O9HzgeR8x88k0O78TIK75gVGwP3hWKxpH.mq.",
	}
}

// NewFastUsers returns the same users for tests. The hashes have the least cost.
func NewFastUsers() Users {
	return Users{
		alice: "$2a$04$TLna9.RkP.u44uqOyTsububUzIAJ3KYd6GRKGQyKGlirs2w8j/2QW",
		ada:   "$2a$04$hRqq43NLQwi6buhrFkRgyurmfW8pvn9fBMFqLIfQsf69XGsT5ZTEK",
		decoy: "$2a$04$MjSh/KB/96.k6M9inLsph.lp1Jl2SIc5.sjRmHgy4k.iAirhnnEm2",
	}
}

// Check reports whether the password is that of the user. An unknown name takes as
// long as a wrong password, so that the time does not tell which names exist.
func (u Users) Check(name, password string) bool {
	hash := u.decoy
	switch name {
	case Alice:
		hash = u.alice
	case Ada:
		hash = u.ada
	}
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	// bcrypt ignores what follows 72 bytes.
	return hash != u.decoy && err == nil && len(password) <= 72
}
