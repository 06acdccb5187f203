package main

import "golang.org/x/crypto/bcrypt"

// user is what is stored about a user: of the password, only a hash.
type user struct {
	hash  string
	admin bool // may rotate the key
}

// userStore stands for the database.
type userStore struct {
	users map[string]user
	decoy string // a hash of no one's password, as costly as the users' hashes
}

// demoUsers returns two users. Their passwords are down-the-rabbit-hole and
// analytical-engine; the hashes come from bcrypt.GenerateFromPassword with a
// cost of 12, a fifth of a second on a machine of today.
func demoUsers() userStore {
	return userStore{
		users: map[string]user{
			"alice": {"$2a$12$tgd2LzgXLZXjBbr4FJm6IOodex9E/EFrANJQP0xbJ3j/nFYyUGLVi", false},
			"ada":   {"$2a$12$y2aoLgYw1SG7ZlsmLJ1oDu2El0R0yd9VPdh1iQHTUeYNVHdMt/OiW", true},
		},
		decoy: "$2a$12$lRZUOWIbN3nTJBD6O9HzgeR8x88k0O78TIK75gVGwP3hWKxpH.mq.",
	}
}

// check reports whether the password is that of the user. A name that nobody
// has takes as long as a wrong password: otherwise the clock would tell which
// names exist.
func (s userStore) check(name, password string) bool {
	u, known := s.users[name]
	if !known {
		u.hash = s.decoy
	}
	err := bcrypt.CompareHashAndPassword([]byte(u.hash), []byte(password))
	// bcrypt reads 72 bytes: anything with the same beginning would do.
	return known && err == nil && len(password) <= 72
}
