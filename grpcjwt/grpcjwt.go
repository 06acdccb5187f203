// Package grpcjwt authenticates gRPC calls by the rules of package jwthttp.
//
//	auth, err := jwthttp.New[Claims](opts)
//	...
//	calls, err := grpcjwt.New(grpcjwt.Options{
//		Methods: map[string]*jwthttp.Middleware{
//			"/shop.Orders/*":      auth.RequireScopes("orders:read"),
//			"/shop.Orders/Delete": auth.RequireScopes("orders:write"),
//		},
//		Public: []string{"/grpc.health.v1.Health/*"},
//	})
//	...
//	server := grpc.NewServer(grpc.UnaryInterceptor(calls.Unary()), grpc.StreamInterceptor(calls.Stream()))
//	shop.RegisterOrdersServer(server, orders)
//	err = calls.Check(server)
//
// A call is checked as the HTTP request that it is: a POST to the full method name,
// with the metadata as header fields. So extractors, requirements, rules, the
// cross-origin check and bound tokens work as they do in [jwthttp.Middleware].
// Handlers find the claims in their context.
//
// # Pitfalls
//
//   - A method without a Middleware is refused. Call [Interceptors.Check] after all
//     services are registered, so that the program does not start without it.
//   - Interceptors that stand before these ones run for calls that are refused later.
//   - A panic of a rule, an extractor or FindIssuer ends the program, as any panic in a
//     gRPC server does, unless an interceptor that stands before recovers it.
//   - Interceptors run only for calls that arrive at the server. The functions
//     Register...HandlerServer of grpc-gateway call a service without any check.
//   - The challenge is in the header metadata www-authenticate. A stream that has sent its
//     header has it in the trailer. Behind grpc.Server.ServeHTTP it does not arrive then.
//   - The newest DPoP nonce is sent with refusals only. Clients repeat such a call.
package grpcjwt

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/seed450a7203/jwthttp"
)

// Options configures [Interceptors].
type Options struct {
	_ struct{}

	// Methods are the Middlewares of methods. A key is a full method name such as
	// "/pkg.Service/Method", "/pkg.Service/*" for the other methods of a service, or
	// "*" for all others. The most exact key applies, those of Public included. A
	// call of any other method is refused with PermissionDenied.
	Methods map[string]*jwthttp.Middleware

	// Public are methods that need no token, named as in Methods. A token is not
	// looked at, and there are no claims.
	Public []string

	// Recheck is the time between two checks of the token of a stream, see
	// [jwthttp.Middleware.Watch]. If zero, 1 minute. If negative, there is none:
	// only the expiry of the token ends the stream.
	Recheck time.Duration
}

// Interceptors authenticates the calls of a server. [New] returns one; the zero value
// refuses every call. Interceptors is immutable and safe for concurrent use.
type Interceptors struct {
	middlewares map[string]*jwthttp.Middleware // by pattern; nil: public
	recheck     time.Duration
}

// New returns Interceptors. If opts is invalid, the returned error describes every
// problem.
func New(opts Options) (*Interceptors, error) {
	i := &Interceptors{middlewares: make(map[string]*jwthttp.Middleware), recheck: cmp.Or(opts.Recheck, time.Minute)}
	if opts.Recheck < 0 {
		i.recheck = math.MaxInt64
	}
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("grpcjwt: "+format, args...))
	}
	if len(opts.Methods) == 0 && len(opts.Public) == 0 {
		add("invalid Methods: want at least one method")
	}
	for _, pattern := range slices.Sorted(maps.Keys(opts.Methods)) {
		m := opts.Methods[pattern]
		if !isPattern(pattern) {
			add("invalid Methods %q: %s", pattern, wantPattern)
		}
		if m == nil {
			add("invalid Methods %q: no Middleware", pattern)
		}
		i.middlewares[pattern] = m
	}
	for n, pattern := range opts.Public {
		if !isPattern(pattern) {
			add("invalid Public[%d] %q: %s", n, pattern, wantPattern)
		}
		if _, ok := i.middlewares[pattern]; ok {
			add("invalid Public[%d] %q: is named twice", n, pattern)
		}
		i.middlewares[pattern] = nil
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return i, nil
}

const wantPattern = `want "/package.Service/Method", "/package.Service/*" or "*"`

func isPattern(text string) bool {
	if text == "*" {
		return true
	}
	service, method, ok := splitMethod(text)
	return ok && !strings.Contains(service, "*") && (method == "*" || !strings.Contains(method, "*"))
}

// splitMethod splits a full method name. A server of grpc-go also serves calls whose
// name lacks the first slash, or has others, so such names must match no pattern.
func splitMethod(name string) (service, method string, ok bool) {
	rest, ok := strings.CutPrefix(name, "/")
	if !ok {
		return "", "", false
	}
	service, method, _ = strings.Cut(rest, "/")
	return service, method, service != "" && method != "" && !strings.Contains(method, "/")
}

// find returns the Middleware of a method, or nil if the method is public.
func (i *Interceptors) find(name string) (m *jwthttp.Middleware, ok bool) {
	service, _, ok := splitMethod(name)
	if !ok {
		return nil, false
	}
	for _, pattern := range [...]string{name, "/" + service + "/*", "*"} {
		if m, ok := i.middlewares[pattern]; ok {
			return m, true
		}
	}
	return nil, false
}

// Check returns an error that lists the methods of s that neither Options.Methods nor
// Options.Public names. Call it when all services are registered.
func (i *Interceptors) Check(s *grpc.Server) error {
	var missing []string
	for service, info := range s.GetServiceInfo() {
		for _, method := range info.Methods {
			name := "/" + service + "/" + method.Name
			if _, ok := i.find(name); !ok {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("grpcjwt: neither Methods nor Public names %s", strings.Join(missing, ", "))
}
