module github.com/seed450a7203/jwthttp/grpcjwt

go 1.25.1

replace github.com/seed450a7203/jwthttp => ../

require (
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/seed450a7203/jwthttp v0.0.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260120221211-b8f7ae30c516
	google.golang.org/grpc v1.80.0
	google.golang.org/protobuf v1.36.11
)

require (
	github.com/MicahParks/jwkset v0.11.4 // indirect
	golang.org/x/net v0.49.0 // indirect
	golang.org/x/sys v0.40.0 // indirect
	golang.org/x/text v0.33.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)
