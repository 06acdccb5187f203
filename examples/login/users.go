package main

import "golang.org/x/crypto/bcrypt"

// user is what is stored about a user: of the password, only a hash.
type user struct {
	hash   string
	role   string
	tenant string
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
			"alice": {"$2a$12$tgd2LzgXLZXjBbr4FJm6IOodex9E/EFrANJQP0xbJ3j/nFYyUGLVi", "editor", "wonderland"},
			"ada":   {"$2a$12$y2aoLgYw1SG7ZlsmLJ1oDu2El0R0yd9VPdh1iQHTUeYNVHdMt/OiW", "admin", "difference"},
		},
		decoy: "$2a$12$lRZUOWIbN3nTJBD6O9HzgeR8x88k0O78TIK75gVGwP3hWKxpH.mq.",
	}
}

// check returns the user of that name if the password is right. A name that
// nobody has takes as long as a wrong password: otherwise the clock would tell
// which names exist.
func (s userStore) check(name, password string) (user, bool) {
	u, known := s.users[name]
	if !known {
		u.hash = s.decoy
	}
	err := bcrypt.CompareHashAndPassword([]byte(u.hash), []byte(password))
	return u, known && err == nil
}
