module github.com/seed450a7203/jwthttp

go 1.25.1

require github.com/golang-jwt/jwt/v5 v5.3.1

require github.com/google/go-cmp v0.7.0 // indirect
