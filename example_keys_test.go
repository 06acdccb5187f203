package jwthttp_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Keys that change while the program runs: New copies a KeySet, so a Keyfunc
// reads the current one from an atomic pointer. A token is rejected as soon as
// its key is removed.
func ExampleKeyfunc() {
	var current atomic.Pointer[jwthttp.KeySet]
	current.Store(&jwthttp.KeySet{"2026-10": []byte("first secret, 32 bytes or longer")})

	issuer := exampleIssuer()
	issuer.Keys = jwthttp.Keyfunc(func(t *jwt.Token) (any, error) {
		return current.Load().KeyfuncCtx(context.Background())(t)
	})
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer}})
	if err != nil {
		panic(err)
	}
	sign := func(kid string) string {
		t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "https://login.example", "aud": "https://api.example", "exp": int64(253402300799),
		})
		t.Header["kid"] = kid
		token, err := t.SignedString((*current.Load())[kid])
		if err != nil {
			panic(err)
		}
		return token
	}
	show := func(when, token string) {
		_, err := auth.Authenticate(newRequest(withBearer(token)))
		fmt.Println(when, err == nil)
	}

	old := sign("2026-10")
	show("before:", old)
	current.Store(&jwthttp.KeySet{
		"2026-10": []byte("first secret, 32 bytes or longer"),
		"2026-11": []byte("second secret, 32 bytes or longer"),
	})
	show("old token after a key was added:", old)
	show("new token:", sign("2026-11"))
	current.Store(&jwthttp.KeySet{"2026-11": []byte("second secret, 32 bytes or longer")})
	show("old token after its key was removed:", old)

	// Output:
	// before: true
	// old token after a key was added: true
	// new token: true
	// old token after its key was removed: false
}
