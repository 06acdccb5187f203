package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// newToken returns a refresh token: 256 random bits.
func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashOf returns what is stored of a refresh token. A fast hash suffices,
// because 256 random bits cannot be guessed.
func hashOf(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// seal encrypts the successor of a refresh token with a key that only the client
// can derive, because the token itself is not stored. So a lost answer can be
// repeated, and the database still has nothing that can be used.
func seal(token, successor string) ([]byte, error) {
	aead, err := newAEAD(token)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, []byte(successor), nil), nil
}

// open returns the successor that seal has encrypted.
func open(token string, sealed []byte) (string, error) {
	aead, err := newAEAD(token)
	if err != nil {
		return "", err
	}
	successor, err := aead.Open(nil, nil, sealed, nil)
	return string(successor), err
}

func newAEAD(token string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(token), nil, "successor of a refresh token", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
