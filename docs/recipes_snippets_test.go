package docs_test

// The Go blocks of recipes.md, in its order. TestRecipes_page compares them.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/protectedresource"
	"github.com/seed450a7203/jwthttp/revocation"
)

type Socket interface {
	Read(context.Context) (string, error)
	Close(reason string)
}

func serve(ctx context.Context, auth *jwthttp.Middleware, socket Socket, handle func(context.Context, string)) {
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	first, err := socket.Read(soon)
	if err != nil {
		return
	}
	ctx, err = auth.Verify(ctx, first)
	if err != nil {
		socket.Close("invalid token")
		return
	}
	watched, stop := auth.Watch(ctx, 0) // ends with the token
	defer stop()
	defer context.AfterFunc(watched, func() { socket.Close("token ended") })()
	for {
		message, err := socket.Read(ctx)
		if err != nil || watched.Err() != nil {
			return
		}
		handle(ctx, message) // jwthttp.MustClaims[Claims](ctx) has the claims
	}
}

type Job struct{ Token, Order string }

func work(ctx context.Context, auth *jwthttp.Middleware, jobs <-chan Job, do func(context.Context, string), retry func(Job)) {
	for job := range jobs {
		verified, err := auth.Verify(ctx, job.Token)
		if err == nil {
			do(verified, job.Order) // jwthttp.MustClaims[Claims](verified) has the claims
			continue
		}
		log.Print(err)
		var e *jwthttp.Error
		if errors.As(err, &e) && (e.Status == http.StatusServiceUnavailable || e.Reason == jwthttp.ReasonCanceled) {
			retry(job) // nothing is known about the token: no keys, no answer about revocation, or ctx has ended
		}
	}
}

// initSocket[transport.InitPayload](auth) is an InitFunc.
func initSocket[P ~map[string]any](auth *jwthttp.Middleware) func(context.Context, P) (context.Context, *P, error) {
	return func(ctx context.Context, payload P) (context.Context, *P, error) {
		field, _ := payload["Authorization"].(string)
		verified, err := auth.Verify(ctx, strings.TrimPrefix(field, "Bearer "))
		if err != nil {
			log.Print(err)
			return ctx, nil, errors.New("invalid token") // gqlgen sends this text to the client
		}
		watched, _ := auth.Watch(verified, 0) // until the token or the connection ends
		return watched, nil, nil
	}
}

// fromChunks returns an Extractor for a token in up to eight cookies.
func fromChunks(name string) jwthttp.Extractor {
	var chunks []jwthttp.Extractor
	for i := range 8 {
		chunks = append(chunks, jwthttp.FromCookie(fmt.Sprintf("%s.%d", name, i)))
	}
	return func(r *http.Request) (jwthttp.Credential, error) {
		whole := jwthttp.Credential{Name: name, Source: jwthttp.SourceCookie}
		for _, chunk := range chunks {
			c, err := chunk(r)
			if errors.Is(err, jwthttp.ErrNoToken) {
				break
			}
			if err != nil {
				return jwthttp.Credential{}, err
			}
			whole.Token += c.Token
		}
		return whole, nil
	}
}

// clearCookies is an ErrorHandler. It deletes invalid tokens with each Domain
// and Path that this site uses or has used.
func clearCookies(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
	if e.Code == "invalid_token" || e.Reason == jwthttp.ReasonMultiple { // not: missing, or step-up authentication
		for _, domain := range []string{"", "example.com"} { // "": this host only
			for _, path := range []string{"/", "/app"} {
				http.SetCookie(w, &http.Cookie{Name: "token", Domain: domain, Path: path, MaxAge: -1, Secure: true})
			}
		}
	}
	jwthttp.WriteError(w, e)
}

func forwardAuth(auth *jwthttp.Middleware) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		method, host := r.Header["X-Forwarded-Method"], r.Header["X-Forwarded-Host"]
		if len(method) != 1 || len(host) != 1 || method[0] == "" || host[0] == "" {
			log.Print("the proxy does not set X-Forwarded-Method and X-Forwarded-Host")
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		original := r.Clone(r.Context())
		original.Method, original.Host = method[0], host[0]
		admitted, err := auth.Authenticate(original)
		if err != nil {
			jwthttp.WriteError(w, err)
			return
		}
		w.Header().Set("X-User", jwthttp.MustClaims[Claims](admitted.Context()).Subject)
	}
}

// fromProxyCookie returns an Extractor for an Authorization field that a proxy
// fills from a cookie.
func fromProxyCookie() jwthttp.Extractor {
	find := jwthttp.FromHeader("Authorization", "Bearer")
	return func(r *http.Request) (jwthttp.Credential, error) {
		c, err := find(r)
		c.Source = jwthttp.SourceOther // subject to Options.CrossOrigin, unlike SourceHeader
		return c, err
	}
}

func tenantIssuers(ctx context.Context, names []string) (issuers []jwthttp.Issuer, err error) {
	for _, name := range names {
		keys, err := jwks.Discover(ctx, name, jwks.Options{})
		if err != nil {
			return nil, err
		}
		issuers = append(issuers, jwthttp.Issuer{
			Name:       name,
			Audience:   []string{"https://api.example"},
			Algorithms: []string{"RS256"},
			Keys:       keys,
		})
	}
	return issuers, nil
}

// findTenant returns the issuer of a tenant as it is stored, or "".
func tenantsAtRunTime(ctx context.Context, findTenant func(ctx context.Context, issuer string) (string, error)) (*jwthttp.Middleware, error) {
	const most = 10_000
	pool, err := jwks.NewPool(ctx, jwks.PoolOptions{MaxSets: most})
	if err != nil {
		return nil, err
	}
	return jwthttp.New[Claims](jwthttp.Options{
		FindIssuer: func(ctx context.Context, name string) (*jwthttp.Issuer, error) {
			if stored, err := findTenant(ctx, name); err != nil || stored != name {
				return nil, err // nil: there is no such tenant
			}
			return &jwthttp.Issuer{
				Name:       name,
				Audience:   []string{"https://api.example"},
				Algorithms: []string{"RS256"},
				Keys:       pool.Discover(name),
			}, nil
		},
		IssuerTTL:  time.Minute, // a tenant that is dropped keeps access for so long
		MaxIssuers: most,
	})
}

// ofHost rejects a token of tenant A at the host of tenant B.
func ofHost(issuerOf func(host string) string) func(*http.Request) error {
	return func(r *http.Request) error {
		token, ok := jwthttp.TokenFromContext(r.Context())
		if !ok || token.Issuer == "" || token.Issuer != issuerOf(r.Host) {
			return errors.New("token of another tenant")
		}
		return nil
	}
}

func bridge(secret []byte, keys jwthttp.KeySource) []jwthttp.Issuer {
	before := jwthttp.Issuer{
		Name:       "https://login.example",
		Audience:   []string{"https://api.example"},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret),
	}
	after := before
	after.Algorithms, after.Keys = []string{"RS256"}, keys
	return []jwthttp.Issuer{before, after}
}

type several []jwthttp.KeySource

func (sets several) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		var failed error
		for _, set := range sets {
			key, err := set.KeyfuncCtx(ctx)(t)
			if err == nil {
				return key, nil
			}
			failed = errors.Join(failed, err)
		}
		return nil, failed
	}
}

func ready(keys *jwks.Set, store revocation.Store) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := errors.Join(keys.Ready(ctx), store.Ready(ctx)); err != nil {
			log.Print(err)
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	}
}

func forClients(pool string, keys jwthttp.KeySource) jwthttp.Issuer {
	return jwthttp.Issuer{
		Name:       pool,
		Audience:   []string{jwthttp.Any},
		Clients:    []string{"1h57kf5cpq17m0eml12EXAMPLE"}, // client_id, azp or cid
		Algorithms: []string{"RS256"},
		Keys:       keys,
	}
}

// site serves what build returns for the latest valid options.
type site struct {
	build   func(*jwthttp.Middleware) http.Handler
	handler atomic.Pointer[http.Handler]
}

// Load must succeed once before the site serves requests.
func (s *site) Load(opts jwthttp.Options) error {
	auth, err := jwthttp.New[Claims](opts)
	if err != nil {
		return err // the site keeps its options
	}
	handler := s.build(auth)
	s.handler.Store(&handler)
	return nil
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*s.handler.Load()).ServeHTTP(w, r)
}

func front(auth *jwthttp.Middleware) http.Handler {
	return auth.AllowAnonymous().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if claims, ok := jwthttp.ClaimsFromContext[Claims](r.Context()); ok {
			fmt.Fprintln(w, "hello", claims.Subject)
			return
		}
		fmt.Fprintln(w, "hello visitor")
	}))
}

func sameTenant(r *http.Request, claims Claims) error {
	if claims.Tenant == "" || claims.Tenant != r.PathValue("tenant") {
		return errors.New("another tenant")
	}
	return nil
}

func tenantRoutes(mux *http.ServeMux, auth *jwthttp.Middleware, page http.Handler) {
	auth = auth.Require(jwthttp.Rule(sameTenant))
	mux.Handle("GET /tenants/{tenant}", auth.Handler(page)) // on the route, where the path value is set
}

type userKey struct{}

func accessLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := new(string)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
		log.Printf("%s %q user=%q", r.Method, r.URL.Path, *user)
	})
}

func noteUser(ctx context.Context, e jwthttp.Event) { // for Options.Observer
	if user, ok := ctx.Value(userKey{}).(*string); ok && e.Token != nil {
		*user = e.Token.Subject
	}
}

type exactClaims map[string]any

func (c *exactClaims) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode((*map[string]any)(c))
}

type numericClaims struct {
	jwt.RegisteredClaims
	Subject json.Number `json:"sub"` // instead of the embedded one
}

func describe(opts *jwthttp.Options, mux *http.ServeMux) error {
	resource, err := protectedresource.New(protectedresource.Metadata{
		Resource:             "https://api.example",
		AuthorizationServers: []string{"https://login.example"},
	})
	if err != nil {
		return err
	}
	opts.ResourceMetadataURL = resource.URL() // in challenges
	opts.Realm = "api"
	mux.Handle(resource.Path(), resource) // outside the middleware
	return nil
}
