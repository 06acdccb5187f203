package benchmarks

import (
	"context"
	"net"
	"net/http"
	"strings"

	auth0grpc "github.com/auth0/go-jwt-middleware/v3/integrations/grpc"
	validatorv3 "github.com/auth0/go-jwt-middleware/v3/validator"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/grpcjwt"
)

// Names of the handlers of Calls.
const (
	CallUnguarded = "no-auth"
	CallHand      = "hand"
	CallAuth0     = "auth0-v3"
	CallOurs      = "grpcjwt"
	CallCached    = "grpcjwt-cached"
)

// CallNames are the names in the order of the table.
func CallNames() []string {
	return []string{CallUnguarded, CallHand, CallAuth0, CallOurs, CallCached}
}

// CallAlgorithms are the algorithms of the tokens of Calls.
func CallAlgorithms() []string { return []string{"RS256", "ES256"} }

// Call makes a unary call of gRPC instead of serving the request that it gets. Its
// status is 401 if the call is refused.
type Call struct {
	Name string
	http.Handler
}

// guardCall returns an interceptor, and how a method reads the role that the
// interceptor has put into the context.
type guardCall func(*Fixture) (grpc.UnaryServerInterceptor, func(context.Context) string, error)

// Calls returns a handler for each interceptor, with the named token. A connection in
// memory leads to its server. Call end when they are no longer needed.
func Calls(f *Fixture, name string) (calls []Call, end func(), err error) {
	var ends []func()
	end = func() {
		for _, f := range ends {
			f()
		}
	}
	guards := map[string]guardCall{
		CallUnguarded: unguardedCall,
		CallHand:      handCall,
		CallAuth0:     auth0Call,
		CallOurs:      ourCall(0),
		CallCached:    ourCall(cacheSize),
	}
	ctx := context.Background()
	if token := f.tokens[name]; token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	for _, contender := range CallNames() {
		guard, read, err := guards[contender](f)
		if err != nil {
			end()
			return nil, nil, err
		}
		client, stop, err := serveCalls(guard, read)
		if err != nil {
			end()
			return nil, nil, err
		}
		ends = append(ends, stop)
		calls = append(calls, Call{contender, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if _, err := client.Check(ctx, new(healthpb.HealthCheckRequest)); status.Code(err) == codes.Unauthenticated {
				w.WriteHeader(http.StatusUnauthorized)
			} else if err != nil {
				panic(err)
			}
		})})
	}
	return calls, end, nil
}

// serveCalls starts a server of gRPC's health service.
func serveCalls(guard grpc.UnaryServerInterceptor, read func(context.Context) string) (healthpb.HealthClient, func(), error) {
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(guard,
		func(ctx context.Context, message any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if got := read(ctx); got != role {
				panic("claim is " + got + ", not " + role)
			}
			return next(ctx, message)
		}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	listener := bufconn.Listen(64 << 10)
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	return healthpb.NewHealthClient(conn), func() {
		conn.Close()
		server.Stop()
		<-ended
	}, nil
}

func unguardedCall(*Fixture) (grpc.UnaryServerInterceptor, func(context.Context) string, error) {
	return func(ctx context.Context, message any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return next(ctx, message)
	}, func(context.Context) string { return role }, nil
}

// handCall is the interceptor that people write around golang-jwt's parser.
func handCall(f *Fixture) (grpc.UnaryServerInterceptor, func(context.Context) string, error) {
	parse := handParse(f)
	return func(ctx context.Context, message any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		values := metadata.ValueFromIncomingContext(ctx, "authorization")
		if len(values) == 0 {
			return nil, status.Error(codes.Unauthenticated, "no token")
		}
		token, _ := strings.CutPrefix(values[0], "Bearer ")
		claims, err := parse(ctx, token)
		if err != nil {
			return nil, status.Error(codes.Unauthenticated, "bad token")
		}
		return next(context.WithValue(ctx, claimsKey{}, claims), message)
	}, func(ctx context.Context) string { return ctx.Value(claimsKey{}).(*Claims).Role }, nil
}

func auth0Call(f *Fixture) (grpc.UnaryServerInterceptor, func(context.Context) string, error) {
	v, err := auth0V3Validator(f)
	if err != nil {
		return nil, nil, err
	}
	i, err := auth0grpc.New(auth0grpc.WithValidator(v))
	if err != nil {
		return nil, nil, err
	}
	return i.UnaryServerInterceptor(), func(ctx context.Context) string {
		return auth0grpc.MustGetClaims[*validatorv3.ValidatedClaims](ctx).CustomClaims.(*ownClaims).Role
	}, nil
}

func ourCall(cacheSize int) guardCall {
	return func(f *Fixture) (grpc.UnaryServerInterceptor, func(context.Context) string, error) {
		m, err := jwthttp.New[Claims](CachedOptions(f, cacheSize))
		if err != nil {
			return nil, nil, err
		}
		calls, err := grpcjwt.New(grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{"*": m}})
		if err != nil {
			return nil, nil, err
		}
		return calls.Unary(), func(ctx context.Context) string { return jwthttp.MustClaims[Claims](ctx).Role }, nil
	}
}
