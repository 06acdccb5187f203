package main

import "golang.org/x/crypto/bcrypt"

// user is a stored user. Of the password it has only the hash.
type user struct {
	hash  string
	admin bool // may rotate the key
}

// userStore stands for the database.
type userStore struct {
	users map[string]user
	decoy string // the hash of a random password, of the same cost as the others
}

// demoUsers returns two users with the passwords down-the-rabbit-hole and
// analytical-engine. The hashes are from bcrypt.GenerateFromPassword with cost 12,
// which takes about 0.2 s.
func demoUsers() userStore {
	return userStore{
		users: map[string]user{
			"alice": {"$2a$12$tgd2LzgXLZXjBbr4FJm6IOodex9E/EFrANJQP0xbJ3j/nFYyUGLVi", false},
			"ada":   {"$2a$12$y2aoLgYw1SG7ZlsmLJ1oDu2El0R0yd9VPdh1iQHTUeYNVHdMt/OiW", true},
		},
		decoy: "$2a$12$lRZUOWIbN3nTJBD6O9HzgeR8x88k0O78TIK75gVGwP3hWKxpH.mq.",
	}
}

// check reports whether the password is that of the user. An unknown name takes as
// long as a wrong password, so that the time does not tell which names exist.
func (s userStore) check(name, password string) bool {
	u, known := s.users[name]
	if !known {
		u.hash = s.decoy
	}
	err := bcrypt.CompareHashAndPassword([]byte(u.hash), []byte(password))
	// bcrypt ignores what follows 72 bytes.
	return known && err == nil && len(password) <= 72
}
