package main

import "golang.org/x/crypto/bcrypt"

// user is a stored user. Of the password it has only the hash.
type user struct {
	hash   string
	role   string
	tenant string
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
			"alice": {"$2a$12$tgd2LzgXLZXjBbr4FJm6IOodex9E/EFrANJQP0xbJ3j/nFYyUGLVi", "editor", "wonderland"},
			"ada":   {"$2a$12$y2aoLgYw1SG7ZlsmLJ1oDu2El0R0yd9VPdh1iQHTUeYNVHdMt/OiW", "admin", "difference"},
		},
		decoy: "$2a$12$lRZUOWIbN3nTJBD6O9HzgeR8x88k0O78TIK75gVGwP3hWKxpH.mq.",
	}
}

// check returns the user of that name if the password is right. An unknown name
// takes as long as a wrong password, so that the time does not tell which names
// exist.
func (s userStore) check(name, password string) (user, bool) {
	u, known := s.users[name]
	if !known {
		u.hash = s.decoy
	}
	err := bcrypt.CompareHashAndPassword([]byte(u.hash), []byte(password))
	return u, known && err == nil
}
