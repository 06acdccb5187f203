package benchmarks

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"

	"github.com/MicahParks/keyfunc/v3"
	ginjwt "github.com/appleboy/gin-jwt/v2"
	auth0v2 "github.com/auth0/go-jwt-middleware/v2"
	validatorv2 "github.com/auth0/go-jwt-middleware/v2/validator"
	auth0v3 "github.com/auth0/go-jwt-middleware/v3"
	jwksv3 "github.com/auth0/go-jwt-middleware/v3/jwks"
	validatorv3 "github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	jwtv4 "github.com/golang-jwt/jwt/v4"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
	jwxv2 "github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwxv3 "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

// This file has setups other than the contenders: cookies, the query, optional
// tokens and key sets.

func (l *lab) validators() (*validatorv2.Validator, *validatorv3.Validator) {
	v2, err := validatorv2.New(func(context.Context) (any, error) { return l.rs.Verifying, nil }, validatorv2.RS256, IssuerName, []string{audienceName})
	if err != nil {
		l.Fatal(err)
	}
	v3, err := validatorv3.New(validatorv3.WithKeyFunc(func(context.Context) (any, error) { return l.rs.Verifying, nil }),
		validatorv3.WithAlgorithm(validatorv3.RS256), validatorv3.WithIssuer(IssuerName), validatorv3.WithAudience(audienceName))
	if err != nil {
		l.Fatal(err)
	}
	return v2, v3
}

func (l *lab) chi() *jwtauth.JWTAuth {
	return jwtauth.New("RS256", l.rs.signing, l.rs.Verifying,
		jwxv2.WithIssuer(IssuerName), jwxv2.WithAudience(audienceName), jwxv2.WithRequiredClaim(jwxv2.ExpirationKey))
}

func (l *lab) must(h http.Handler, err error) http.Handler {
	if err != nil {
		l.Fatal(err)
	}
	return h
}

// inCookie and inQuery take the token from a cookie or parameter named jwt, with
// the means of each library.
func inCookie(l *lab) []*setup {
	return l.placed("cookie", auth0v2.CookieTokenExtractor("jwt"), auth0v3.CookieTokenExtractor("jwt"), jwtauth.TokenFromCookie,
		jwxv3.WithCookieKey("jwt"), jwthttp.FromCookie("jwt"))
}

func inQuery(l *lab) []*setup {
	return l.placed("query", auth0v2.ParameterTokenExtractor("jwt"), auth0v3.ParameterTokenExtractor("jwt"), jwtauth.TokenFromQuery,
		jwxv3.WithFormKey("jwt"), jwthttp.FromQuery("jwt"))
}

func (l *lab) placed(place string, e2 auth0v2.TokenExtractor, e3 auth0v3.TokenExtractor, find func(*http.Request) string, key jwxv3.ParseOption, ours jwthttp.Extractor) []*setup {
	v2, v3 := l.validators()
	m3, err := auth0v3.New(auth0v3.WithValidator(v3), auth0v3.WithTokenExtractor(e3))
	if err != nil {
		l.Fatal(err)
	}
	jwx := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := jwxv3.ParseRequest(r, jwxv3.WithKey(jwa.RS256(), l.rs.Verifying), jwxv3.WithIssuer(IssuerName), jwxv3.WithAudience(audienceName), key); err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		admit(w, r)
	})
	opts := CachedOptions(l.rs, 16)
	opts.Extractor = ours
	m, err := jwthttp.New[Claims](opts)
	if err != nil {
		l.Fatal(err)
	}
	ja := l.chi()
	return []*setup{
		{name: Auth0, handler: auth0v2.New(v2.ValidateToken, auth0v2.WithTokenExtractor(e2)).CheckJWT(admit)},
		{name: Auth0V3, handler: m3.CheckJWT(admit)},
		{name: "chi/jwtauth", handler: jwtauth.Verify(ja, find)(jwtauth.Authenticator(ja)(admit))},
		{name: "echo-jwt", handler: l.placedEcho(place + ":jwt")},
		{name: "gin-jwt", handler: l.placedGin(place + ":jwt")},
		{name: "jwx-v3", handler: jwx},
		{name: Ours, handler: m.Handler(admit)},
	}
}

func (l *lab) placedEcho(lookup string) http.Handler {
	m, err := echojwt.Config{SigningKey: l.rs.Verifying, SigningMethod: "RS256", TokenLookup: lookup}.ToMiddleware()
	if err != nil {
		l.Fatal(err)
	}
	e := echo.New()
	e.Use(m)
	e.Any("/", echo.WrapHandler(admit))
	return e
}

func (l *lab) placedGin(lookup string) http.Handler {
	m, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		KeyFunc:     func(*jwtv4.Token) (any, error) { return l.rs.Verifying, nil },
		TokenLookup: lookup,
	})
	if err != nil {
		l.Fatal(err)
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(m.MiddlewareFunc())
	e.Any("/", gin.WrapH(admit))
	return e
}

// minimal returns the first examples of READMEs that are shorter than the
// contenders, for HS256. That of jwthttp has only what New requires.
func minimal(l *lab) []*setup {
	ja := jwtauth.New("HS256", l.hs.Verifying, nil)
	e := echo.New()
	e.Use(echojwt.JWT(l.hs.Verifying))
	e.Any("/", echo.WrapHandler(admit))
	m, err := ginjwt.New(&ginjwt.GinJWTMiddleware{Key: l.hs.Verifying.([]byte)})
	if err != nil {
		l.Fatal(err)
	}
	g := gin.New()
	g.Use(m.MiddlewareFunc())
	g.Any("/", gin.WrapH(admit))
	jwx := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := jwxv3.ParseRequest(r, jwxv3.WithKey(jwa.HS256(), l.hs.Verifying)); err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		admit(w, r)
	})
	h, err := ours(l.hs, admit)
	return []*setup{
		{name: "chi/jwtauth", handler: jwtauth.Verifier(ja)(jwtauth.Authenticator(ja)(admit))}, {name: "echo-jwt", handler: e}, {name: "gin-jwt", handler: g}, {name: "jwx-v3", handler: jwx},
		{name: Ours, handler: survive(l.must(h, err))},
	}
}

// optional returns the setups of libraries with an option to admit a missing token.
func optional(l *lab) []*setup {
	v2, v3 := l.validators()
	m3, err := auth0v3.New(auth0v3.WithValidator(v3), auth0v3.WithCredentialsOptional(true))
	if err != nil {
		l.Fatal(err)
	}
	m, err := jwthttp.New[Claims](CachedOptions(l.rs, 16))
	if err != nil {
		l.Fatal(err)
	}
	return []*setup{
		{name: Auth0, handler: auth0v2.New(v2.ValidateToken, auth0v2.WithCredentialsOptional(true)).CheckJWT(admit)},
		{name: Auth0V3, handler: m3.CheckJWT(admit)},
		{name: "chi/jwtauth's Verifier without Authenticator", handler: jwtauth.Verifier(l.chi())(admit)},
		{name: Ours, handler: m.Optional().Handler(admit)},
	}
}

// keyServer serves a key set, or 500 if the set is empty.
type keyServer struct {
	*httptest.Server
	set     string
	fetches atomic.Int64
}

func (l *lab) keyServer(set string) *keyServer {
	k := &keyServer{set: set}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		k.fetches.Add(1)
		if k.set == "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, k.set)
	}))
	l.Cleanup(k.Close)
	return k
}

// remoteKeys lists the contenders that fetch a key set here, each as its README
// shows. Auth0's v2 and jwx can fetch one with modules that this one does not
// require.
var remoteKeys = []string{"keyfunc+hand", Auth0V3, "go-oidc", Ours}

func (l *lab) remote(name string, k *keyServer) http.Handler {
	u, err := url.Parse(k.URL)
	if err != nil {
		l.Fatal(err)
	}
	issuer, _ := url.Parse(IssuerName)
	next := admit
	switch name {
	case "keyfunc+hand":
		keys, err := keyfunc.NewDefaultCtx(l.Context(), []string{k.URL})
		if err != nil {
			l.Fatal(err)
		}
		parser := newParser(l.rs)
		return guardAny(func(ctx context.Context, token string) error {
			_, err := parser.Parse(token, keys.KeyfuncCtx(ctx))
			return err
		})
	case Auth0V3:
		return l.remoteV3(issuer, u)
	case "go-oidc":
		v := oidc.NewVerifier(IssuerName, oidc.NewRemoteKeySet(l.Context(), k.URL), &oidc.Config{ClientID: audienceName, SupportedSigningAlgs: []string{"RS256"}})
		return guardAny(func(ctx context.Context, token string) error {
			_, err := v.Verify(ctx, token)
			return err
		})
	}
	keys, err := jwks.New(l.Context(), k.URL, jwks.Options{OnError: func(error) {}})
	if err != nil {
		l.Fatal(err)
	}
	opts := CachedOptions(l.rs, 16)
	opts.Issuers[0].Keys = keys
	m, err := jwthttp.New[Claims](opts)
	if err != nil {
		l.Fatal(err)
	}
	return m.Handler(next)
}

func (l *lab) remoteV3(issuer, keys *url.URL) http.Handler {
	provider, err := jwksv3.NewCachingProvider(jwksv3.WithIssuerURL(issuer), jwksv3.WithCustomJWKSURI(keys))
	if err != nil {
		l.Fatal(err)
	}
	v, err := validatorv3.New(validatorv3.WithKeyFunc(provider.KeyFunc), validatorv3.WithAlgorithm(validatorv3.RS256),
		validatorv3.WithIssuer(IssuerName), validatorv3.WithAudience(audienceName))
	if err != nil {
		l.Fatal(err)
	}
	m, err := auth0v3.New(auth0v3.WithValidator(v))
	if err != nil {
		l.Fatal(err)
	}
	return m.CheckJWT(admit)
}

// guardAny is guard without claims.
func guardAny(check func(context.Context, string) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := bearer(r); !ok || check(r.Context(), token) != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		admit(w, r)
	})
}
