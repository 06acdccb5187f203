module github.com/seed450a7203/jwthttp

go 1.25.1

require (
	github.com/MicahParks/jwkset v0.11.4
	github.com/MicahParks/keyfunc/v3 v3.9.2
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/google/go-cmp v0.7.0
)

require golang.org/x/time v0.15.0 // indirect
